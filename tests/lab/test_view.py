"""The page of a run shows what the run has, whatever that is, and what a model or a file says stays text."""

import html
import json
import re
import shutil
import subprocess

import pytest

from t1mini.__main__ import main
from t1mini.lab import view
from t1mini.lab.marks import marks
from t1mini.runs.folder import json_lines

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "</script><script>document.title='taken'</script><img src=http://a.test/x onerror=alert(1)><!-- \u2028\u202e\x1b[2J"


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A run of three updates, killed before its end."""
    run = tmp_path_factory.mktemp("view") / "run"
    flags = "--steps 3 --prompts 2 --k 4 --max-new-tokens 40 --workers 1 --group-every 1 --checkpoint-every 2 --eval-every 3 --eval-problems 5"
    assert main(["rl", *flags.split(), "--out", str(run)]) == 0
    shutil.rmtree(run / "final")
    return run


def data_of(page):
    return json.loads(re.search(r'(?s)<script type="application/json" id="data">(.*?)</script>', page)[1])


def page_of(*paths, out):
    assert main(["view", *map(str, paths), "--out", str(out)]) == 0
    return out.read_text()


def test_a_killed_run_shows_its_groups_its_thinking_and_its_curves(short, tmp_path):
    (run,) = data_of(page_of(short, out=tmp_path / "a.html"))["runs"]
    assert [int(row["step"]) for row in run["metrics"]] == [1, 2, 3] == [group["step"] for group in run["groups"]]
    assert {row["step"] for row in run["thinking"]} == {0, 2, 3} and len(run["thinking"]) == 12
    assert len({row["prompt"] for row in run["thinking"]}) == 4
    assert [row["step"] for row in run["eval"]] == ["0", "3"]
    for group, row in zip(run["groups"], run["metrics"]):
        assert len(group["responses"]) == 4 and group["responses"][0]["prompt"].startswith(f"make {group['problem']['target']} from")
        for r in group["responses"]:
            others = [other["reward"] for other in group["responses"] if other is not r]
            assert r["advantage"] == pytest.approx(r["reward"] - sum(others) / 3, abs=0.01)  # and a little KL
            assert r["length"] == len(r["tokens"]) == len(r["logprobs"]) == len(r["ref_logprobs"]) == len(r["entropies"])
            assert " ".join(r["tokens"]).replace(" <eos>", "") == r["text"]
            assert r["kl"] == pytest.approx(sum(r["logprobs"]) - sum(r["ref_logprobs"]), abs=0.05)
    assert all(r["kl"] == pytest.approx(0, abs=1e-3) for r in run["groups"][0]["responses"])


def test_a_group_with_something_to_teach_is_chosen(short):
    rows = [json.loads(line) for line in (short / "groups.jsonl").read_text().splitlines()]
    uneven = [len({r["reward"] for r in row["responses"]}) > 1 for row in rows]
    tied = [float(line.split(",")[9]) for line in (short / "metrics.csv").read_text().splitlines()[1:]]
    assert uneven == [share < 1 for share in tied]


def test_runs_with_little_are_shown_as_far_as_they_are(short, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(short / "metrics.csv", bare)
    (bare / "groups.jsonl").write_text((short / "groups.jsonl").read_text()[:-30])  # the last line is being written
    (run,) = view.look_into(bare)
    assert len(run["groups"]) == 2 and len(run["metrics"]) == 3 and not run["thinking"]
    (bare / "groups.jsonl").unlink()
    assert len(data_of(page_of(bare, short, out=tmp_path / "two.html"))["runs"]) == 2


def test_a_study_is_shown_as_a_set_of_curves_a_variant():
    runs = view.look_into(view.Path("tutorials/findings/studies"))
    kl = [run for run in runs if run["name"].startswith("reference: ")]
    assert len(kl) > 1 and all(run["metrics"][0]["step"] == 1 and run["budgets"] for run in kl)


@pytest.mark.parametrize("file, content, says", [
    ("nothing.txt", "", "has something to show yet"),
    ("groups.jsonl", "no json\n", "groups.jsonl, line 1: not JSON"),
    ("metrics.csv", b"\xff\xfe\x00", "cannot read"),
    ("config.json", "[]", "config.json"),
    ("groups.jsonl", '{"step": 1}\n', "groups.jsonl, line 1: not as a run leaves it"),
    ("thinking.jsonl", '{"step": 1, "text": 5}\n', "thinking.jsonl, line 1: not as a run leaves it"),
    ("x-steps.csv", "step,variant\n1,a\n", "x.csv: there are no rows"),
])
def test_a_folder_that_is_no_run_is_one_line(file, content, says, tmp_path, capsys):
    (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["view", str(tmp_path)]) == 2
    assert says in (said := capsys.readouterr().err) and said.count("\n") == 1 and not (tmp_path / "view.html").exists()


def hostile_run(path):
    path.mkdir()
    response = {"prompt": HOSTILE, "text": HOSTILE, "reward": 1, "advantage": 0.5, "kl": 7, "tokens": [HOSTILE, HOSTILE], "logprobs": [-1, -2], "length": 2,
                "ref_logprobs": [], "entropies": [], "correct": True}
    group = {"step": 1, "problem": {"answer": HOSTILE}, "responses": [response, {"prompt": "", "text": "a 17th", "reward": 0, "advantage": -1, "kl": 0}]}
    (path / "groups.jsonl").write_text(json_lines([group, group | {"step": HOSTILE}]))
    (path / "thinking.jsonl").write_text(json_lines([{"step": 0, "prompt": HOSTILE, "text": HOSTILE}]))
    (path / "cuts.jsonl").write_text(json_lines([{"policy": HOSTILE, "prompt": HOSTILE, "tokens": [HOSTILE], "cuts": [{"budget": 3, "answer": HOSTILE}]}]))
    (path / "responses.jsonl").write_text(json_lines([{"question": HOSTILE, "answer": HOSTILE, "text": HOSTILE}]))
    (path / "metrics.csv").write_text("step,reward,kl,</script>\n1,nan,inf,</script>\n2,0.5,<b>,3\n")
    (path / "events.csv").write_text(f"step,event\n1,{HOSTILE.splitlines()[0]}\n")
    (path / "budget_curve.csv").write_text("policy,budget,accuracy\n</script><img src=x>,16,0.5\n")
    (path / "config.json").write_text(json.dumps({"variant": HOSTILE, "task": HOSTILE, "made_by": {"torch": HOSTILE}}))


def test_what_a_model_says_stays_text(tmp_path):
    hostile_run(tmp_path / "run")
    page = page_of(tmp_path / "run", out=tmp_path / "a.html")
    template = view.Path(view.__file__).with_suffix(".html").read_text("utf-8")
    assert page.count("<") == template.count("<")
    assert not re.search(r"src=|href=\"|@import|url\(", template) and "default-src 'none'" in template
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|fetch\(", template)
    (run,) = data_of(page)["runs"]
    assert run["groups"][0]["responses"][0]["text"] == HOSTILE and run["groups"][0]["problem"] == {"answer": HOSTILE}
    assert run["metrics"][0]["</script>"] == "</script>"


def test_a_page_of_a_long_run_has_a_limit(short, tmp_path, monkeypatch):
    whole = json.dumps(data_of(page_of(short, out=tmp_path / "a.html")))
    monkeypatch.setattr(view, "LARGEST_PAGE", len(whole) - 1)
    (run,) = data_of(page_of(short, out=tmp_path / "b.html"))["runs"]
    assert [group["step"] for group in run["groups"]] == [1, 3]
    monkeypatch.setattr(view, "LARGEST_PAGE", 10)
    assert data_of(page_of(short, out=tmp_path / "c.html"))["runs"][0]["groups"] == []


CLICKS = """<script>
window.faults = [];
addEventListener("error", event => faults.push(event.message));
addEventListener("securitypolicyviolation", event => faults.push("address " + event.blockedURI));
addEventListener("load", () => setTimeout(() => {
  const press = key => document.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  const seen = () => document.querySelector("#group output")?.textContent;
  const steps = [seen()];
  press("ArrowRight"); steps.push(seen());
  for (const select of document.querySelectorAll("select"))
    for (let i = 0; i < select.options.length; i++) { select.value = i; select.dispatchEvent(new Event("change")); }
  for (const range of document.querySelectorAll("input[type=range]")) { range.value = range.max; range.dispatchEvent(new Event("input")); }
  for (const row of document.querySelectorAll("tr.pick")) row.dispatchEvent(new Event("click"));
  for (const token of document.querySelectorAll(".token")) token.dispatchEvent(new Event("pointerenter"));
  for (const picture of document.querySelectorAll("svg")) for (const kind of ["pointermove", "click"]) picture.dispatchEvent(new MouseEvent(kind));
  const found = {faults, steps, title: document.title, sections: [...document.querySelectorAll("section")].map(s => s.id),
                 images: document.images.length, scripts: document.scripts.length, milliseconds: performance.now()};
  document.body.replaceChildren("FOUND" + JSON.stringify(found) + "END");
}, 0));
</script>"""


def opened(page, tmp_path):
    """What a browser has to say of a page, every control of which is used."""
    (tmp_path / "tried.html").write_text(page.replace("<title>", CLICKS + "<title>", 1))
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=5000",
               "--dump-dom", f"file://{tmp_path}/tried.html"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    return json.loads(html.unescape(re.search("(?s)<body>FOUND(.*)END</body>", shown)[1]))


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_every_view_works_in_a_browser(short, tmp_path):
    found = opened(page_of(short, out=tmp_path / "a.html"), tmp_path)
    assert not found["faults"] and found["sections"] == ["health", "curves", "group", "thinking"]
    assert found["steps"] == ["update 1", "update 2"]
    hostile_run(tmp_path / "run")
    found = opened(page_of(tmp_path / "run", out=tmp_path / "b.html"), tmp_path)
    assert not found["faults"] and found["title"].startswith("t1mini") and found["images"] == 0 and found["scripts"] == 3
    assert found["sections"] == ["health", "curves", "group", "thinking", "budget", "responses"]


def test_marks_say_what_an_attempt_was_and_what_it_was_believed_to_be():
    said = {"3 + 11 = 14 * 4 = 56 low": "low", "3 + 4 = 7 * 11 = 77 check 3 + 4 = 7 , 7 * 11 = 77 low": "belief", "3 * 4 = 12 * 11 = 32 low": "slip",
            "3 + 4 = 7 * 11 = 77 check 3 + 4 = 7 , 7 * 11 = 77 ok": "hit", "4 * 11 = 44 - 3 = 41 high": "belief", "7 * 11 = 77 * 1 = 77 ok": "slip",
            "11 * 4 = 44 * 2 = 88 high": "slip", "4 * 11 = 44 * 3 = 35 low": "slip", "11 - 4 = 7 * 3 = 21 low": "low", "answer 3 + 4 * 11": "answer"}
    text = " ".join(said)
    found = marks({"numbers": [3, 4, 11], "target": 77}, text, [], 4)
    assert [mark[2] for mark in found] == [*said.values()]
    assert [text[start:end] for start, end, *_ in found][1::8] == ["3 + 4 = 7 * 11 = 77", "3 + 4 * 11"]
    again = "1 + 2 = 3 + 3 = 6 low " * 3
    assert [mark[2] for mark in marks({"numbers": [1, 2, 3], "target": 9}, again, [], 2)] == ["low", "repeat"] * 3


def test_marks_of_an_attempt_with_a_0_in_it():
    found = marks({"numbers": [3, 4, 11], "target": 77}, "10 / 5 = 2 / 0 = 4 low", [], 4)
    assert [mark[2] for mark in found] == ["slip"]


def test_marks_of_thinking_in_words():
    text = "5 + 3 = 9. Wait, 5 + 3 = 8.\n</think>\nThe final answer is \\boxed{8}."
    found = marks({}, text, [], 4)
    assert [(text[start:end][:4], kind) for start, end, kind, _ in found] == [("5 + ", "slip"), ("Wait", "try"), ("8", "answer")]
    assert found[0] == [0, 9, "slip", "5 + 3 is 8, not 9"]
    tokens = list("abcdefghijklmnopqrst" * 3)
    assert [kind for *_, kind, _ in marks({}, "".join(tokens), tokens, 2)] == ["repeat", "try", "repeat", "repeat"]
    assert "stray" in [kind for *_, kind, _ in marks({}, "答案", [], 2)]
