"""A hosted page as a customer reads it, without running a script: its visible text, its links and its forms.

The pytest function of a report holds a copy of `Page`, which therefore needs nothing but the standard library and
`parts_of`.
"""

from __future__ import annotations

import codecs
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Mapping
from email.message import Message
from functools import lru_cache
from html.parser import HTMLParser
from typing import Final
from unicodedata import decimal
from urllib.parse import quote, urljoin

from qashier_contract.addresses import joined, parts_of
from qashier_contract.history import Exchange, Reply


class Page(HTMLParser):
    """What a hosted page shows without running a script: its visible text, its links and its forms."""

    ACTS = frozenset({"pay-card", "pay-declined", "pay-redirect", "authorise", "cancel"})
    """The `data-testid` of what a customer presses in a form."""
    CONFIRMED = ", confirmed"
    """What is added to an act where a customer is asked whether he means it, and does."""
    _BACK = re.compile(
        r"(?i)(?<![a-z])(abort|again|another|back|cancel|change|different|edit|instead|later|no|not|other|retry|return|skip"
        r"|stop|try|wait)(?![a-z])"
    )
    """Words of a button that does not go on."""
    _ON = re.compile(r"(?i)(?<![a-z])(accept|agree|approve|authori[sz]e|buy|confirm|pay|sure|yes)(?![a-z])")
    """Words of a button that surely does."""
    _UNREAD = frozenset({"checkbox", "color", "file", "hidden", "image", "password", "radio"})
    """Inputs whose value nobody reads."""
    _FRAMES = frozenset({"embed", "frame", "iframe", "object"})
    _SILENT = frozenset({"script", "style", "noscript"})
    _INERT = frozenset({"iframe", "noembed", "noframes", "template", "textarea", "title", "xmp"})
    """What a browser takes for text, or keeps for later: nobody sees or presses what is in there."""
    _INLINE = frozenset(["a", "abbr", "b", "bdi", "em", "font", "i", "mark", "small", "span", "strong", "u", "wbr"])
    """What does not part the letters around it: a customer reads `succ<em>essful</em>` as one word."""
    _ENDS_P = re.compile("address|article|aside|blockquote|div|dl|fieldset|footer|form|h[1-6r]|header|main|nav|ol|p|ul")
    """What ends a paragraph that was not ended: what begins a block of its own."""
    _SENDS_ON = re.compile(r"""location[^"']*(["'])(https?:(?:\\.|(?!\1).)*)\1""")
    """A handler of clicks that leads elsewhere."""
    _VOID = frozenset(
        {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
    )

    def __init__(self, html: str, url: str) -> None:
        super().__init__(convert_charrefs=True)
        self.url = url
        self.links: list[str] = []
        """Where links and forms lead to that only ask, absolute."""
        self.forms: list[dict[str, str]] = []
        """Of each form: its `action`, absolute, `method`, `id`, whether it is `hidden`, whether it has `other` buttons
        than those of `ACTS`, whether it `asks` for what has to be filled in or chosen, and what it sends: unasked as
        `field:NAME`, and as `choice:NAME` what a customer chooses or writes."""
        self.tests: dict[str, dict[str, str]] = {}
        """What carries a `data-testid`: its attributes, and `form`, the number of the form it is in."""
        self.buttons: list[dict[str, str]] = []
        """What sends a form and can be seen: its attributes, `form`, and the `text` on it."""
        self.may_show_more = False
        """Whether a script draws something, or a frame shows a page of its own: neither is read."""
        self.refresh = ""
        """After how many seconds a browser asks for another page, and for which, as the page says it."""
        self._words: list[str] = []
        self._is_one_word = False
        """Whether what comes next belongs to the last word: a line may end there."""
        self._hidden = 0
        self._form: int | None = None
        self._base = url
        self._controls: list[dict[str, str]] = []
        """What may send something: its attributes, `kind`, `form`, and the `value` that it `sends` as a `field` or a
        `choice`. The `text` of what is written is one of `_texts`, by its place."""
        self._texts: list[list[str]] = []
        self._fieldsets: list[bool] = []
        """Whether each set of fields that is open is switched off, by itself or by one around it."""
        self._is_on_button = False
        """Whether the button that was noted last is open."""
        self._list: list[dict[str, str]] = []
        """The list that is open, and its options so far."""
        self._is_typed = False
        """Whether the inert element holds text that its customer reads."""
        self._inert: list[str] = []
        """The inert element that is open, as often as it is nested."""
        self._stack: list[tuple[str, bool]] = []
        self._open: Counter[str] = Counter()
        """How many elements of each name are open: a look through the stack for each end tag would be quadratic."""
        self.feed(self._ending(html))
        self.close()
        self._end_list()
        named = {form["id"]: str(number) for number, form in reversed([*enumerate(self.forms)])}
        for element in (*self.tests.values(), *self._controls, *self.buttons):
            if (owner := element.pop("form-id", None)) in named:
                element["form"] = named[owner]
        for button in self.buttons:
            button["text"] = self._text_of(button)
        self._fill_in()

    @property
    def text(self) -> str:
        return self.as_shown(" ".join(self._words))

    @staticmethod
    def as_shown(text: str) -> str:
        """A text as a browser shows it, digits as ASCII, but for where lines end: a soft hyphen is seen only there."""
        if not text.isascii():
            text = re.sub(r"\d", lambda digit: str(decimal(digit[0])), text.replace("\u00ad", ""))
        return " ".join(text.split())

    @staticmethod
    def sent_by(form: Mapping[str, str], button: Mapping[str, str]) -> dict[str, str]:
        """What a form sends whose button is pressed, by name."""
        found: dict[str, str] = {}
        for prefix in ("field:", "choice:"):
            found |= {name.removeprefix(prefix): value for name, value in form.items() if name.startswith(prefix)}
        return found | ({button["name"]: button.get("value", "")} if button.get("name") else {})

    def forms_to_pay(self, session_id: str) -> list[dict[str, str]]:
        """The forms that act on the session: they post to this page or name it. A search or a language does not.

        Nor does the form of a dialog, which sends nothing, or one that nobody sees.
        """
        of_acts = {element.get("form") for name, element in self.tests.items() if name in self.ACTS}

        def acts(form: dict[str, str]) -> bool:
            path = parts_of(form["action"]).path
            if form["hidden"]:
                return False
            written = [value for name, value in form.items() if not name.startswith("choice:")]
            names_it = session_id in path or session_id in written
            return names_it or (form["method"] == "post" and path == parts_of(self.url).path)

        return [
            form
            for number, form in enumerate(self.forms)
            if form["method"] != "dialog" and (str(number) in of_acts or acts(form))
        ]

    def confirmation(self, act: str) -> dict[str, str] | None:
        """The one button by which a customer says that he means an act, ways back aside; None if there is no such one.

        To pay may be confirmed by any button, to authorise a payment by one whose words say so: whoever comes back from
        the method need not have paid. What does not pay is confirmed by the same `data-testid` alone.
        """
        if any(name in self.ACTS and name != act for name in self.tests):
            return None
        found = [button for button in self.buttons if self._may_confirm(button, act)]
        if len(found) != 1:
            return None
        says_so = act == "authorise" and self.is_certain(found[0])
        return found[0] if act == "pay-card" or says_so or found[0].get("data-testid") == act else None

    def is_certain(self, button: dict[str, str]) -> bool:
        """Whether the words of a button say that a customer goes on with what he does."""
        return self._ON.search(self._words_of(button)) is not None

    def _words_of(self, button: dict[str, str]) -> str:
        """What a button says, to the customer or to the server."""
        path = parts_of(button.get("formaction") or self.forms[int(button["form"])]["action"]).path
        words = [button.get(name, "") for name in ("text", "name", "value", "data-testid")]
        words.append(path.rpartition("/")[2] if path != parts_of(self.url).path else "")
        return " ".join(words).replace("_", " ")

    def _may_confirm(self, button: dict[str, str], act: str) -> bool:
        """Whether a button posts to this host, asks for nothing that has to be written, and does not lead back."""
        form = self.forms[int(button["form"])] if "form" in button else {"hidden": "yes"}
        if form["hidden"] or form.get("asks") == "to write":
            return False
        method = button.get("formmethod") or form["method"]
        there = parts_of(button.get("formaction") or form["action"])
        is_meant = button.get("data-testid") == act or self._BACK.search(self._words_of(button)) is None
        return method.lower() == "post" and there.netloc == parts_of(self.url).netloc and is_meant

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self._part_words(tag)
        hides = (
            tag in self._SILENT
            or "hidden" in attributes
            or "display:none" in attributes.get("style", "").replace(" ", "")
        )
        is_drawn = tag == "script" or (tag in self._FRAMES and not self._hidden)
        self.may_show_more = self.may_show_more or (is_drawn and not self._inert)
        if self._inert or tag in self._INERT:
            if not self._inert or tag == self._inert[-1] == "template":
                self._is_typed = tag == "textarea" and not hides
                self._offer(tag, attributes)
                self._inert.append(tag)
            return
        while self._stack and self._ends(tag, self._stack[-1][0]):
            self._pop()
        if tag == "form":
            self._form = len(self.forms)
            action = self._joined(self._base, attributes["action"]) if attributes.get("action") else self.url
            method = attributes.get("method", "get").lower()
            if method == "get":
                self.links.append(action)
            is_hidden = "yes" if hides or self._hidden else ""
            self.forms.append({"action": action, "method": method, "id": attributes.get("id", ""), "hidden": is_hidden})
        self._resolve(tag, attributes)
        self._take(tag, attributes, hides=hides)
        if tag == "fieldset":
            self._fieldsets.append("disabled" in attributes or any(self._fieldsets[-1:]))
        self._offer(tag, attributes)
        if "data-testid" in attributes:
            self.tests[attributes["data-testid"]] = self._owned(attributes)
        if tag not in self._VOID:
            self._stack.append((tag, hides))
            self._open[tag] += 1
            self._hidden += hides

    def _take(self, tag: str, attributes: dict[str, str], *, hides: bool) -> None:
        """Note what a field shows, and which buttons a form has."""
        kind = attributes.get("type", "text" if tag == "input" else "submit").lower()
        if tag == "input" and kind not in self._UNREAD and not self._hidden and not hides:
            self._words.extend((attributes.get("value", ""), ""))
        is_button = tag in {"button", "input"} and kind in {"submit", "image"}
        if is_button and not hides and not self._hidden and "disabled" not in attributes:
            self.buttons.append({**self._owned(attributes), "text": self._new_text()})
            self._is_on_button = tag == "button"
        if is_button and self._form is not None and attributes.get("data-testid") not in self.ACTS:
            self.forms[self._form]["other"] = "yes"

    def _owned(self, attributes: dict[str, str]) -> dict[str, str]:
        """The attributes of an element, and the `form` that it is in, by its number; by `form-id` if it names one."""
        owner = {"form": str(self._form)} if self._form is not None else {}
        if "form" in attributes:
            owner = {"form-id": attributes["form"]}
        return {**{name: value for name, value in attributes.items() if name != "form"}, **owner}

    def _offer(self, tag: str, attributes: dict[str, str]) -> None:
        """Note a control, or what a list offers."""
        if tag in {"option", "optgroup"} and self._list:
            self._list.append({**attributes, "tag": tag, "text": self._new_text()})
        elif tag in {"input", "select", "textarea"}:
            self._end_list()
            kind = attributes.get("type", "text").lower() if tag == "input" else tag
            value = "on" if kind in {"checkbox", "radio"} else ""
            control = {"value": value, **self._owned(attributes), "kind": kind, "text": self._new_text()}
            self._list = [control] if tag == "select" else []
            if "disabled" not in attributes and not any(self._fieldsets[-1:]):
                self._controls.append(control)

    def _new_text(self) -> str:
        self._texts.append([])
        return str(len(self._texts) - 1)

    def _text_of(self, control: dict[str, str]) -> str:
        return "".join(self._texts[int(control["text"])])

    def _end_list(self) -> None:
        """Note what the open list sends: what is selected, or the first option; one that is not empty if need be."""
        if not self._list:
            return
        (control, *options), self._list = self._list, []
        values, selected, is_off = [], [], False
        for option in options:
            if option["tag"] == "optgroup":
                is_off = "disabled" in option
            elif not is_off and "disabled" not in option:
                values.append(option.get("value", " ".join(self._text_of(option).split())))
                selected += values[-1:] if "selected" in option else []
        shows_one = "multiple" not in control and control.get("size", "1") == "1"
        sent = selected[-1:] or (values[:1] if shows_one else [])
        if "required" in control and not any(sent):
            sent = [value for value in values if value][:1]
        control["value"], control["sends"] = "".join(sent), "choice" if sent else ""
        control["lacks"] = "" if any(selected) else "yes"

    def _fill_in(self) -> None:
        """Note what each form sends of its controls.

        A customer leaves everything as it is, ticks what has to be ticked, and chooses the first where a choice is due.
        """
        groups: dict[tuple[str, str], list[dict[str, str]]] = {}
        for number, control in enumerate(self._controls):
            kind, name, form = control["kind"], control.get("name", ""), control.get("form", "")
            if kind in {"checkbox", "radio"}:
                groups.setdefault((form, name if kind == "radio" else f"{number} {name}"), []).append(control)
            elif kind == "textarea":
                text = re.sub("\r\n?", "\n", self._text_of(control)).removeprefix("\n")
                control["value"] = text.replace("\n", "\r\n")
                control["sends"] = "choice"
            elif kind != "select":
                control["sends"] = "" if kind in {"submit", "button", "image", "reset", "file"} else "field"
        for group in groups.values():
            self._tick(group)
        for control in self._controls:
            kind, form, name = control["kind"], control.get("form", ""), control.get("name", "")
            if form and "required" in control and control.get("lacks", "" if control["value"] else "yes"):
                to_write = (
                    kind not in {"checkbox", "radio", "select"} or self.forms[int(form)].get("asks") == "to write"
                )
                self.forms[int(form)]["asks"] = "to write" if to_write else "to choose"
            if form and name and control["sends"]:
                self.forms[int(form)][f"{control['sends']}:{name}"] = control["value"]

    @staticmethod
    def _tick(group: list[dict[str, str]]) -> None:
        """Tick the first of some boxes if one of them has to be ticked, and none is."""
        is_ticked = any("checked" in box for box in group)
        for box in group:
            box["sends"], box["lacks"] = "field" if "checked" in box else "", "" if is_ticked else "yes"
        if not is_ticked and any("required" in box for box in group):
            group[0]["sends"] = "choice"

    def _resolve(self, tag: str, attributes: dict[str, str]) -> None:
        """Make the addresses of an element absolute, and note where it leads."""
        for name in ("href", "formaction"):
            if attributes.get(name):
                attributes[name] = self._joined(self._base, attributes[name])
        if tag == "base" and attributes.get("href"):
            self._base = attributes["href"]
        if tag in {"a", "area"} and "href" in attributes:
            self.links.append(attributes["href"] or self._base)
        if tag == "meta" and attributes.get("http-equiv", "").lower() == "refresh":
            self.refresh = self.refresh or attributes.get("content", "")
        for _, url in self._SENDS_ON.findall(attributes.get("onclick", "")):
            self.links.append(re.sub(r"\\(.)", r"\1", url))

    def handle_endtag(self, tag: str) -> None:
        self._part_words(tag)
        if self._inert:
            if tag == self._inert[-1]:
                self._inert.pop()
            return
        if tag == "select":
            self._end_list()
        if tag == "button":
            self._is_on_button = False
        if tag == "optgroup" and self._list:
            self._list.append({"tag": tag, "text": self._new_text()})
        if tag == "fieldset" and self._fieldsets:
            self._fieldsets.pop()
        if tag == "form":
            self._form = None
        if self._open[tag]:
            while self._pop() != tag:
                pass

    def _ends(self, tag: str, open_tag: str) -> bool:
        """Whether what is open ends where another element begins, since its end need not be written."""
        if open_tag == "p":
            return self._ENDS_P.fullmatch(tag) is not None
        together = ({"dt", "dd"}, {"td", "th"}, {"li"}, {"option"}, {"tr"})
        return any(open_tag in names and tag in names for names in together)

    def _pop(self) -> str:
        tag, hides = self._stack.pop()
        self._open[tag] -= 1
        self._hidden -= hides
        return tag

    def _part_words(self, tag: str) -> None:
        if tag not in self._INLINE:
            self._words.append("")
        self._is_one_word = tag == "wbr"

    def handle_data(self, data: str) -> None:
        if self._list:
            self._texts[int(self._list[-1]["text"])].append(data)
        elif self._inert == ["textarea"]:
            self._texts[-1].append(data)
        elif self._is_on_button:
            self._texts[int(self.buttons[-1]["text"])].append(data)
        if self._hidden or (self._inert and not self._is_typed):
            return
        if self._words and (self._is_one_word or (self._words[-1][-1:].isalpha() and data[:1].isalpha())):
            data = self._words.pop() + data
        self._words.append(data)
        self._is_one_word = False

    @staticmethod
    def _ending(html: str) -> str:
        """A page in which nothing is begun that does not end: looking for each such end would be quadratic."""
        for begin, end in (("<!--", "-->"), ("<![", "]]>")):
            last = html.rfind(end) + len(end) if end in html else 0
            html = html[:last] + html[last:].replace(begin, "<! ")
        last = html.rfind(">") + 1
        return html[:last] + html[last:].replace("<", " ")

    @staticmethod
    def _joined(base: str, reference: str) -> str:
        """Where a reference on a page leads, blanks around it aside; itself, if that is nowhere."""
        try:
            return urljoin(base, reference.strip())
        except ValueError:
            return reference


@lru_cache(maxsize=512)
def page_of(exchange: Exchange) -> Page | None:
    """The page that an exchange shows, None if it is no HTML."""
    reply = exchange.reply
    if reply is None or "html" not in reply.media_type:
        return None
    return Page(_text_of(reply), exchange.request.path)


_AS_BROWSERS_DO: Final = {"ascii": "cp1252", "iso8859-1": "cp1252", "punycode": "utf-8"}
"""Encodings that a browser takes for another one. Decoding Punycode takes time that grows with the square."""


def _text_of(reply: Reply) -> str:
    """The text of a page, by its byte order mark, its `Content-Type` or what its head says of itself."""
    marks = ((BOM_UTF8, "utf-8-sig"), (BOM_UTF16_LE, "utf-16"), (BOM_UTF16_BE, "utf-16"))
    told = Message()
    told["Content-Type"] = reply.header("content-type") or ""
    in_head = re.search(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w.:-]+)""", reply.body[:1024], re.IGNORECASE)
    encoding = (
        next((name for mark, name in marks if reply.body.startswith(mark)), None)
        or told.get_content_charset()
        or (in_head[1].decode().lower() if in_head else "utf-8")
    )
    try:
        name = codecs.lookup(encoding).name
        return reply.body.decode(_AS_BROWSERS_DO.get(name, name), "replace")
    except (LookupError, ValueError):
        return reply.body.decode("utf-8", "replace")


def posts_to_itself(page: Page, name: str) -> bool:
    """Whether what carries a `data-testid` posts a form to the address of the page that it is on."""
    element = page.tests.get(name, {})
    if "form" not in element:
        return False
    form = page.forms[int(element["form"])]
    action = joined(form["action"], element.get("formaction", "")) or ""
    method = element.get("formmethod") or form["method"]
    return method.lower() == "post" and action.partition("?")[0] == page.url.partition("?")[0]


def to_confirm(seen: Page, act: str, shown: Page) -> dict[str, str] | None:
    """The button of a page by which an act is confirmed that was done on another one; None if it is that page again."""
    button = shown.confirmation(act.removesuffix(Page.CONFIRMED))
    pressed = seen.tests.get(act) or seen.confirmation(act.removesuffix(Page.CONFIRMED))
    is_same = seen.tests.keys() == shown.tests.keys() and _way(seen, pressed) == _way(shown, button)
    return None if is_same else button


def _way(page: Page, button: dict[str, str] | None) -> tuple[object, ...]:
    """What a button sends where, but for values that may be new on each page."""
    if button is None or "form" not in button:
        return ()
    form = page.forms[int(button["form"])]
    action = parts_of(button.get("formaction") or form["action"])
    names = sorted(name for name in form if name.startswith(("field:", "choice:")))
    return (action.netloc, action.path, names, button.get("data-testid"), button.get("name"), button.get("value"))


def is_certain_to_confirm(page: Page, act: str) -> bool:
    """Whether a page has a button that confirms an act by its words, and no link of the same host, and no script."""
    here = parts_of(page.url)
    others = [link for link in page.links if parts_of(link).netloc == here.netloc and parts_of(link).path != here.path]
    button = page.confirmation(act)
    return button is not None and page.is_certain(button) and not others and not page.may_show_more


def as_followed(url: str) -> str:
    """A URL as a browser sends it that follows a link: no quote, angle bracket or brace goes out as it is."""
    base, mark, query = url.partition("?")
    return re.sub('["<>`{}]', _encoded, base) + mark + re.sub("""["<>`{}']""", _encoded, query)


def _encoded(found: re.Match[str]) -> str:
    return quote(found[0])


def destination(url: str) -> str:
    """A pattern for where a customer ends who is sent to a URL: there, perhaps with more in its query."""
    base, mark, fragment = url.partition("#")
    more = r"(&[^#]*)?" if "?" in base else r"(\?[^#]*)?"
    return _in_either_way(base) + more + _in_either_way(mark + fragment)


def _in_either_way(text: str) -> str:
    """A pattern for a part of a URL as it is, or as whoever follows it sends it."""
    return re.sub(r'["<>`]|\\[{}]', lambda found: f"({found[0]}|{quote(found[0][-1])})", re.escape(text))
