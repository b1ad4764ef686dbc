"""The words of the scripts: `{% room_texts %}` and `{% voices_texts %}` render them, translated, as one JSON block."""

from __future__ import annotations

from typing import Any

from django import template
from django.core.serializers.json import DjangoJSONEncoder
from django.utils.html import json_script
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy, pgettext_lazy

register = template.Library()

# A number for each plural category of the two languages: Intl.PluralRules chooses the category in the browser.
_SAMPLES = {"one": 1, "few": 2, "many": 5, "other": 2}

TEXTS = {
    # Door
    "door_consent": _("To send sound, tick “Write down and paint what I say”. Or choose “Only watch”."),
    "door_no_microphone": _("There is no microphone yet: try it first, or choose another source."),
    "door_no_file": _("Choose an audio file first."),
    "door_bad_file": _("This browser cannot read that file. WAV, MP3, FLAC, OGG and M4A usually work."),
    "microphone_denied": _("The microphone is blocked."),
    "microphone_denied_help": _(
        "Press the icon left of the address, allow the microphone and try again. If it is allowed there, the system"
        " blocks it: look under privacy in the system's settings. You can come in and watch meanwhile."
    ),
    "microphone_missing": _("No microphone was found."),
    "microphone_missing_help": _("Plug one in and try again, send an audio file, or only watch."),
    "microphone_busy": _("The microphone is in use by another program."),
    "microphone_busy_help": _("Close the program that holds it, or choose another device, and try again."),
    "microphone_broken": _("The microphone does not start."),
    "microphone_broken_help": _("Try again or choose another device. You can come in and watch meanwhile."),
    "microphone_number": _("Microphone {n}"),
    "microphone": _("Microphone"),
    # Top line
    "listening_on": _("Listening"),
    "listening_off": _("Microphone off"),
    "listening_watch": _("Watching"),
    "listening_paused": _("Painting paused"),
    "listening_gone": _("Connecting"),
    "picture_ago": _("picture {time} ago"),
    "next_in": _("next in about {time}"),
    "next_steps": _("painting {step} of {steps}"),
    "next_painting": _("painting now"),
    "next_waiting": _("about to paint"),
    "next_paused": _("painting is paused"),
    "next_manual": _("next at a press of Paint now"),
    "next_suggest": _("suggests, you press Paint now"),
    "next_words": _("waiting for new words"),
    "seconds_short": _("{n} s"),
    "minutes_short": _("{n} min"),
    "hours_short": _("{n} h"),
    "lost": _("Connection lost, coming back by itself"),
    "lost_buffered": _("Connection lost, {n} s of speech kept here. It is sent as soon as the connection is back."),
    "back_again": _("Connected again"),
    "lost_audio": _("The connection was away too long: the oldest {n} s of speech could not be kept."),
    "lagging": _("Captions are about {n} s late: the recogniser has much to do. Nothing is lost."),
    "demo_lead": _(
        "This room works with built-in engines that need no download. They show how it goes, not how well it can."
    ),
    "demo_pill": _("Demo engines"),
    "demo_pill_paint": _("Demo painter"),
    "demo_owner": _("Ask the owner of this room: they can fetch the real engines here."),
    "fetch_lead": _(
        "The real engines understand more languages and tell voices apart better. They are fetched once and then work"
        " without the network; the meeting goes on meanwhile."
    ),
    "fetch_lead_paint": _(
        "A real painter shows what was said as a picture. It is fetched once and then works without the network; the"
        " meeting goes on meanwhile."
    ),
    "fetch_licence": _("{model} can paint here, too, once its licence is accepted ({licence})."),
    "fetch_licence_link": _("Open the page of painters"),
    "fetch": _("Fetch the real engines (≈ {n})"),
    "fetch_label": _("How much of the real engines is here"),
    "fetch_asked": _("Asked for; it begins in a moment."),
    "fetching": _("Fetching {model}: {done} of {total}"),
    "fetch_checking": _("Checking what was fetched"),
    "fetch_done": _("The real engines are here and are being started."),
    "fetch_offline": _("The model server cannot be reached from this machine."),
    "fetch_damaged": _("What was fetched arrived damaged and was thrown away."),
    "fetch_disk_full": _("The disk is full. Make {n} of room first."),
    "fetch_refused": _("The model server refused the download."),
    "fetch_failed": _("Fetching did not work."),
    "fetch_meanwhile": _("The built-in engines go on working: English words, voices, posters."),
    "fetch_by_hand": _(
        "Without a network: fetch them on another machine with the command below and copy its folder of models here."
    ),
    "fetch_again": _("Try again"),
    "real_engines": _("The real engines are at work now."),
    "engine_speech": _("Speech"),
    "engine_voice": _("Voices"),
    "engine_paint": _("Pictures"),
    "demo_speech": _("English only, and roughly"),
    "demo_voice": _("tells voices apart after a few sentences"),
    "demo_paint": _("lays out posters of what was named"),
    # Stage
    "empty_start": _("Say something"),
    "empty_start_hint": _("The first picture comes about 10 s after the first words."),
    "empty_hearing": _("Listening to you"),
    "empty_hearing_hint": _("The words appear below; the first picture follows."),
    "empty_heard": _("Heard"),
    "empty_heard_hint": _("The first picture is on its way."),
    "empty_manual": _("Heard"),
    "empty_manual_hint": _("Press Paint now and it becomes the first picture."),
    "empty_painting": _("Painting the first picture"),
    "empty_painting_hint": _("It takes a few seconds."),
    "empty_paused": _("Painting is paused"),
    "empty_paused_hint": _("Words are still written down. Go on with the button beside the tempo."),
    "empty_no_speech": _("Nobody is listening yet"),
    "empty_no_speech_hint": _(
        "The speech engine has not answered. What you say is kept and written down when it is there."
    ),
    "new_picture": _("New picture: {alt}"),
    "picture_plain": _("A picture of the conversation"),
    "picture_failed": _("The picture could not be loaded; the last one stays."),
    "picture_at": _("{time}: {alt}"),
    "held_picture": _("Held: picture of {time}"),
    "why": _("Why this:"),
    "quoted": _("“{text}”"),
    "d_painted": _("Painted"),
    "d_prompt": _("Prompt"),
    "d_engine": _("Painter"),
    "d_seed": _("Seed"),
    "d_total": _("From word to picture"),
    "d_paint": _("Painting alone"),
    "gave_smaller": _("Painted smaller: the painter's memory or its time was short."),
    "gave_fewer_steps": _("Painted in fewer steps, to be there in time."),
    "gave_offloaded": _("Painted more slowly: the card's memory was short."),
    "gave_float32": _("Painted a second time with full precision: the first try came out empty."),
    "gave_reference_ignored": _("This painter cannot follow the reference, so it was left out."),
    "gave_reference_unreadable": _("A reference could not be read, so it was left out."),
    "gave_other_model": _("Painted by another model than the chosen one, which did not start."),
    "gave_words_left_out": _("Some words were left out: they are never painted here."),
    "gave_neutral": _("A place and a mood only: what was to be seen is never painted here, or was held back."),
    "tile_painting": _("painting"),
    "tile_steps": _("{step} / {steps}"),
    "tile_waiting": _("waiting"),
    "tile_about": _("about {time}"),
    "tile_paused": _("paused"),
    # Captions and people
    "captions_empty": _("What is said appears here."),
    "gap": _("{n} s could not be heard"),
    "gap_language": _("{n} s in another language"),
    "someone": _("Someone"),
    "unsure_name": _("{name}?"),
    "rename": _("{name}: who is it really?"),
    "is_it": _("Is this {name}?"),
    "yes": _("Yes"),
    "no": _("No"),
    "yes_it_is": _("Yes, this is {name}"),
    "no_it_is_not": _("No, this is not {name}"),
    "voice_more": _("{name}: rename, merge, split or forget"),
    "line_only": _("This changes this line only."),
    "line_of_guest": _("Nobody has said yet who this guest is: the name goes to all lines of theirs."),
    "who_title": _("Whose line is this?"),
    "all_lines": _("All lines of {name}"),
    "merge_confirm": _("All lines of {name} and the voice go to {into}. {name} is gone from the list then."),
    "forget_confirm": _(
        "Everything that is known of how {name} sounds goes at once, also for later meetings. The lines stay, under the"
        " name of a guest. This cannot be undone."
    ),
    "split_some": _("Tick at least one line."),
    "split_all": _("Leave at least one line: to give all of them another name, rename or merge."),
    "merge_none": _("Nobody else has spoken yet."),
    "talk_time": _("Talk time"),
    "voices_empty": _("Voices appear here once somebody speaks."),
    "words_empty": _("Nothing has been said yet."),
    "guest": _("Guest"),
    "you_suffix": _(" (you)"),
    # Bottom bar
    "mic_on_label": _("Microphone on"),
    "mic_off_label": _("Microphone off"),
    "mic_join_label": _("Speak with your microphone"),
    "source_none": _("Only watching"),
    "source_watch": _("Watching"),
    "listen": _("Listen"),
    "every": _("every {n} s"),
    "pause_label": _("Pause painting"),
    "resume_label": _("Go on painting"),
    "not_connected": _("Not connected right now. Try again in a moment."),
    "invite_failed": _("The invites could not be loaded. Try again in a moment."),
    "no_full_screen": _("This browser does not allow full screen."),
    "file_ended": _("The file has been sent to its end."),
    "microphone_ended": _("The microphone was unplugged or taken away. Choose another one."),
    "microphone_again": _("The microphone did not come back by itself after the reload."),
    "touch_needed": _("The browser waits for a click before it listens."),
    "taken_over": _("Your sound now comes from another window; this one only shows."),
    "speak_here": _("Speak here"),
    "close": pgettext_lazy("a message", "Close"),
    # Ends
    "closed_out": _("You are no longer in this meeting"),
    "closed_out_text": _("Your invite has become void or your session has ended. Ask the owner for a new invite."),
    "closed_gone": _("This meeting does not exist any more"),
    "closed_gone_text": _("It was deleted. Your other meetings are on the start page."),
    "closed_ended": _("The meeting has ended"),
    "closed_ended_text": _("Everything that was said and painted is in its gallery."),
    # Codes of the live socket
    "reason_nothing_to_paint": _("Nothing was said yet that could be painted. Say something, or type what to paint."),
    "reason_out_of_memory": _("The painter ran out of memory. The last picture stays; a smaller size will help."),
    "reason_model_missing": _("The painter's model is not on its host. The last picture stays."),
    "reason_black_picture": _("The painter gave an empty picture twice. The last picture stays."),
    "reason_painter_lost": _("No painter answered in time. The last picture stays; press Paint now to try again."),
    "reason_engine_missing": _("The painter's software is not installed on its host. The last picture stays."),
    "reason_bad_setting": _("The painter's host is set up wrongly; its log says how. The last picture stays."),
    "reason_bad_reference": _("A reference could not be used by the painter. The last picture stays."),
    "reason_blocked_picture": _("The picture was held back by the safety checker. The last picture stays."),
    "reason_cancelled": _("Painting was cancelled. The last picture stays."),
    "reason_engine_failed": _("The painter failed. The last picture stays; press Paint now to try again."),
    "error_not_allowed": _("You may watch this meeting, not do that. Ask its owner."),
    "error_stream_taken": _("This sound already comes from somebody else. Reload the page and try again."),
    "error_unknown_speaker": _("That speaker is no longer there."),
    "error_name_taken": _("Somebody else here has this name already. If it is the same person, merge the two."),
    "error_unknown_utterance": _("That line is no longer there."),
    "error_unknown_frame": _("That picture is not on its way any more."),
    "error_unknown": _("That did not work. Try again in a moment."),
    "notice_no_speech_host": _(
        "Nobody writes down right now: the speech engine does not answer. What you say is kept."
    ),
    "notice_no_paint_host": _("Nobody paints right now: the painter does not answer. The words are written down."),
    "notice_language_unsupported": _(
        "Only {languages} is understood here; other speech is left out. Fetch the real engines (“Demo engines”), or"
        " start a meeting with its language set."
    ),
    "notice_no_words": _(
        "Somebody speaks, but no words come of it. Is it the language of this meeting, and close to the microphone?"
    ),
    "notice_painter_model_failed": _(
        "The painter's model does not start on its host, so posters stand in for pictures. The host's log says why."
    ),
    "notice_model_failed": _(
        "A model does not start on its host, so the built-in engine works in its place. The host's log says why."
    ),
}

# Of the page where voices are taught.
VOICES_TEXTS = {
    "record": _("Record"),
    "record_more": _("Record more"),
    "stop": _("Stop"),
    "recording_of": _("Recording, {n} s"),
    "remove": _("Remove: {name}"),
    "heard_so_far": _("Speech heard: {n} s of {of} s"),
    "heard_enough": _("Speech heard: {n} s. That is enough."),
    "need_name": _("Whose voice is it? Give it a name."),
    "need_sound": _("Record the voice or choose a file first."),
    "need_consent": _("Tick that this person agreed: without a yes no voice is learned."),
    "sending": _("Sending the recording …"),
    "too_large": _("That is too large: at most {n} MB. A minute of speech is plenty, as MP3 if need be."),
    "failed": _("That did not work. The recording is still here; try again in a moment."),
    "no_connection": _("The server cannot be reached. The recording is still here; try again in a moment."),
    "record_denied": _("The microphone is blocked."),
    "record_denied_help": _(
        "Press the icon left of the address, allow the microphone and try again, or choose a file."
    ),
    "record_missing": _("No microphone was found."),
    "record_missing_help": _("Plug one in and try again, or choose a file."),
    "record_busy": _("The microphone is in use by another program."),
    "record_busy_help": _("Close the program that holds it and try again, or choose a file."),
    "record_broken": _("The microphone does not start."),
    "record_broken_help": _("Try again, or choose a file."),
    "record_insecure": _("This address is not secure, so the browser gives no microphone."),
    "record_insecure_help": _(
        "Open the page by https:// or on the machine itself as http://localhost, or choose a file."
    ),
}

PLURALS = {
    "people": ngettext_lazy("{n} person", "{n} people"),
    "tile_ahead": ngettext_lazy("{n} ahead", "{n} ahead"),
}


class _Readable(DjangoJSONEncoder):
    """Cyrillic as it is: escaped, each letter would weigh six bytes instead of two."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "ensure_ascii": False})


@register.simple_tag
def room_texts() -> SafeString:
    return _block(TEXTS)


@register.simple_tag
def voices_texts() -> SafeString:
    return _block(VOICES_TEXTS)


def _block(texts: dict[str, Any]) -> SafeString:
    block = {
        "texts": {key: str(text) for key, text in texts.items()},
        "plurals": {key: {case: str(forms % n) for case, n in _SAMPLES.items()} for key, forms in PLURALS.items()},
    }
    return json_script(block, "room-text", encoder=_Readable)
