"""Forms of the pages."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from meetings.models import Meeting


class MeetingForm(forms.ModelForm):
    """A new meeting: a title and the language that is spoken."""

    class Meta:
        model = Meeting
        fields = ("title", "language")
        labels = {"title": _("What is it about?"), "language": _("Spoken language")}
        widgets = {"title": forms.TextInput(attrs={"placeholder": _("A garden by the river"), "autocomplete": "off"})}


class JoinForm(forms.Form):
    """Coming in with an invite: a name and the code (or the whole address that carries it)."""

    name = forms.CharField(
        label=_("Your name"), max_length=80, required=False, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    invite = forms.CharField(
        label=_("Invite"), max_length=400, widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})
    )
    to = forms.ChoiceField(choices=[(name, name) for name in ("room", "tv", "gallery")], required=False)

    def clean_invite(self) -> str:
        """The code alone: people paste the address."""
        return self.cleaned_data["invite"].rpartition("#invite=")[2].strip()
