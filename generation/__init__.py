"""Pictures: when to paint (director), what (prompting), whose turn it is (dispatch), and what came of it.

May import `meetings`, `speakers` and `workers.messages`, never `meetviz_site`.
"""
