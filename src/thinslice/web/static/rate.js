// The page of `thinslice rate`: a code, consent, then one pair or clip after the other.
import { make } from "./draw.js";

const $ = (id) => document.getElementById(id);
const SCREENS = ["enter", "consent", "task", "message"];
let study, words, rater, current, held, given, began, sending = false, rested = 0;

const show = (screen) => SCREENS.forEach((name) => { $(name).hidden = name !== screen; });
const fill = (text, n, goal) => text.replace("{n}", n).replace("{goal}", goal);
const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Send until the server has it: an answer is never lost because the server was away for a while.
async function post(path, body) {
  for (;;) {
    try {
      const reply = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ rater, ...body }) });
      const said = await reply.json();
      $("problem").textContent = reply.ok ? "" : said.error;
      if (reply.ok) return said;
      if (reply.status < 500) throw Object.assign(new Error(said.error), { isFinal: true });
    } catch (error) {
      if (error.isFinal) throw error;
      $("problem").textContent ||= words.offline;
    }
    await wait(1500);
  }
}

async function begin() {
  study = await (await fetch("/api/study")).json();
  words = study.words;
  document.documentElement.lang = study.language;
  document.documentElement.dir = study.direction;
  document.title = study.title;
  const texts = { title: study.title, introduction: study.introduction, "code-label": words.code, "code-note": words.code_note, begin: words.begin,
    "consent-text": study.consent, agree: words.agree, decline: words.decline, undo: words.undo, skip: words.cannot_say, submit: words.next,
    "go-on": words.go_on, keys: study.mode === "pairs" ? words.keys : "" };
  for (const [id, text] of Object.entries(texts)) $(id).textContent = text;
  $("submit").hidden = $("skip").hidden = study.mode === "pairs";
  rater = localStorage.getItem("rater") || "";
  if (rater) await enter();
  else show("enter");
}

async function enter() {
  try {
    const { consented } = await post("/api/begin", {});
    localStorage.setItem("rater", rater);
    if (!consented) return show("consent");
    const kept = JSON.parse(localStorage.getItem("unsent") || "null");
    if (kept && kept.rater === rater) await deliver(kept);
    else await take(await post("/api/next", {}));
  } catch {
    localStorage.removeItem("rater");
    show("enter");
  }
}

async function deliver(answer) {
  localStorage.setItem("unsent", JSON.stringify(answer));
  sending = true;
  let next;
  try {
    next = await post("/api/answer", answer);
  } catch { // refused for good: ask again
    next = await post("/api/next", {});
  } finally {
    sending = false;
  }
  localStorage.removeItem("unsent");
  await take(next);
}

function take(task) {
  const { num_done: n, goal } = task;
  $("progress").textContent = goal ? fill(words.progress, n, goal) : fill(words.count, n);
  if (task.done) return tell(words.done);
  if (study.break_every && n && n % study.break_every === 0 && rested !== n) {
    rested = n;
    tell(fill(words.rest, n, goal));
    $("go-on").hidden = false;
    $("go-on").onclick = () => draw(task);
    $("go-on").focus();
    return undefined;
  }
  return draw(task);
}

function tell(text) {
  $("message-text").textContent = text;
  $("go-on").hidden = true;
  $("clips").replaceChildren();
  show("message");
}

function draw(task) {
  current = task;
  given = study.questions.map(() => null);
  held = 0;
  began = performance.now();
  $("told").textContent = task.told ? words[`told_${task.told}`] : "";
  $("clips").className = task.media.length === 1 ? "one" : "";
  const names = task.media.length === 2 ? [words.left, words.right] : [""];
  $("clips").dir = "ltr"; // left is left in every language
  $("clips").replaceChildren(...task.media.map((token, index) => player(token, names[index])));
  show("task");
  study.mode === "pairs" ? drawPair() : drawItems();
  hint();
}

function player(token, name) {
  const video = make("video", { src: `/media/${token}`, controls: true, playsInline: true, preload: "auto" });
  video.setAttribute("aria-label", name || study.title);
  const figure = make("figure", {}, video, make("figcaption", {}, name));
  video.watched = 0;
  let last = null;
  video.onplay = () => { last = video.currentTime; players().forEach((other) => other !== video && other.pause()); };
  video.ontimeupdate = () => {
    if (last !== null && video.currentTime > last) video.watched += Math.min(1, video.currentTime - last);
    last = video.currentTime;
    seen(video, figure);
  };
  video.onended = () => { video.whole = true; seen(video, figure); };
  video.onerror = () => { video.broken = true; seen(video, figure); };
  return figure;
}

const players = () => [...document.querySelectorAll("#clips video")];
const ready = () => players().every((video) => video.whole || video.broken || video.watched >= study.watch_s);
function seen(video, figure) {
  if (video.whole || video.watched >= study.watch_s) figure.classList.add("seen");
  hint();
}
function hint() {
  const broken = players().some((video) => video.broken);
  $("hint").textContent = broken ? words.unplayable : ready() ? "" : words.watch;
  document.querySelectorAll(".choose").forEach((button) => { button.disabled = !ready(); });
  $("submit").disabled = !ready() || study.mode === "pairs" || document.querySelector(".untouched") !== null;
  $("skip").disabled = !ready();
}

function drawPair() {
  const question = study.questions[held];
  const button = (text, value) => make("button", { type: "button", className: "choose", onclick: () => choose(value) }, text);
  const buttons = make("div", { className: "buttons" }, button(words.left, 1), button(words.cannot_say, null), button(words.right, -1));
  buttons.dir = "ltr";
  const dots = study.questions.map((_, index) => (index < held ? "●" : index === held ? "◉" : "○")).join("");
  $("questions").replaceChildren(make("div", { className: "pair" }, make("p", { className: "text", id: "question" }, question.text), buttons,
    make("p", { className: "dots", "aria-hidden": "true" }, dots)));
  hint();
}

function choose(value) {
  if (sending || !ready()) return;
  given[held] = value;
  held += 1;
  if (held < study.questions.length) drawPair();
  else submit();
}

function drawItems() {
  const { low, high, step } = study.scale;
  $("questions").replaceChildren(...study.questions.map((question, index) => {
    const id = `item-${index}`;
    const input = make("input", { type: "range", id, min: low, max: high, step, value: (low + high) / 2 });
    const output = make("output", {});
    const item = make("div", { className: "item untouched" }, make("label", { htmlFor: id }, question.text || question.trait), output, input,
      make("p", { className: "poles", "aria-hidden": "true" }, make("span", {}, question.low), make("span", {}, question.high)));
    const touch = () => { item.classList.remove("untouched"); given[index] = Number(input.value); output.textContent = input.value; hint(); };
    input.oninput = touch;
    input.onclick = touch;
    input.onkeydown = (event) => {
      const value = Number(event.key);
      if (event.key !== " " && event.key.length === 1 && value >= low && value <= high) { input.value = value; touch(); $(`item-${index + 1}`)?.focus(); }
      if (event.key === "Enter" && !$("submit").disabled) submit();
    };
    return item;
  }));
}

async function submit() {
  if (sending) return;
  const answer = { rater, task: current.task, answers: given, seconds: (performance.now() - began) / 1000, watched_s: players().map((video) => video.watched) };
  document.querySelectorAll("#task button").forEach((button) => { button.disabled = true; });
  await deliver(answer);
  $("undo").disabled = false;
}

async function undo() {
  if (sending) return;
  if (study.mode === "pairs" && held > 0) { held -= 1; given[held] = null; drawPair(); return; }
  take(await post("/api/undo", {}));
}

$("code-form").onsubmit = (event) => { event.preventDefault(); rater = $("code").value.trim(); enter(); };
$("agree").onclick = async () => { await post("/api/consent", {}); await enter(); };
$("decline").onclick = () => { localStorage.removeItem("rater"); tell(words.declined); };
$("undo").onclick = undo;
$("submit").onclick = submit;
$("skip").onclick = () => { given = study.questions.map(() => null); submit(); };
document.addEventListener("keydown", (event) => {
  if ($("task").hidden || study.mode !== "pairs" || event.ctrlKey || event.metaKey || event.altKey) return;
  const acts = { ArrowLeft: () => choose(1), ArrowRight: () => choose(-1), ArrowDown: () => choose(null), Backspace: undo,
    1: () => toggle(0), 2: () => toggle(1) };
  if (event.key in acts) { event.preventDefault(); acts[event.key](); }
});
function toggle(index) {
  const video = players()[index];
  if (video) video.paused ? video.play() : video.pause();
}
begin().catch(() => { $("problem").textContent = "The server cannot be reached. Is it still running?"; });
