// The page of `thinslice web`: clips in, scores out.
import { batch, make, scale, words } from "./draw.js";
import { record } from "./record.js";
import { send } from "./send.js";

const AT_ONCE = 2; // Clips of this page that are on their way together.
const STAGES = { words: "reading or recognising the words", voice: "listening to the voice", sound: "listening to the sound",
  face: "looking at the face", scene: "looking at the scene", model: "scoring", explain: "finding what moved the scores" };
const $ = (id) => document.getElementById(id);
const state = { maxMb: 200, waiting: [], running: 0, results: [], shown: 0 };

async function begin() {
  const offer = await (await fetch("/api/bundles")).json();
  state.maxMb = offer.max_mb;
  $("limit").textContent = `Up to ${offer.max_mb} MB each. Of a longer clip, the first 15 seconds are scored.`;
  $("example").hidden = !offer.example;
  offer.bundles.forEach((bundle, index) => {
    $("bundle").append(make("option", { value: index ? bundle.name : "" }, `${bundle.name} (${bundle.inputs.join(", ")})`));
  });
}

function take(files) {
  $("problem").textContent = "";
  const isWords = (file) => /\.(txt|srt|vtt)$/i.test(file.name);
  const stem = (file) => file.name.replace(/\.[^.]*$/, "");
  const texts = new Map([...files].filter(isWords).map((file) => [stem(file), file]));
  const clips = [...files].filter((file) => !isWords(file));
  if (!clips.length && texts.size) $("problem").textContent = "Drop the clip together with its transcript.";
  const typed = $("transcript").value.trim();
  if (typed && clips.length > 1) $("problem").textContent = "The words you typed are for one clip; they were not used.";
  for (const clip of clips) {
    enqueue(clip, texts.get(stem(clip)) || (clips.length === 1 ? typed : "") || null);
  }
  $("file").value = "";
}

function enqueue(file, transcript) {
  const entry = { file, fields: { bundle: $("bundle").value, transcript } };
  entry.label = make("span", { className: "state" }, "waiting to be sent");
  entry.bar = make("progress", { max: 1, value: 0, "aria-label": `Progress of ${file.name}` });
  entry.button = make("button", { type: "button", onclick: () => takeBack(entry) }, "Cancel");
  entry.row = make("li", {}, make("span", { className: "name", title: file.name }, file.name), entry.label, entry.bar, entry.button);
  $("clips").append(entry.row);
  $("on-their-way").hidden = false;
  if (file.size > state.maxMb * 2 ** 20) return fail(entry, `larger than ${state.maxMb} MB; cut or compress the clip`);
  if (!file.size) return fail(entry, "is empty (0 bytes)");
  state.waiting.push(entry);
  next();
}

function next() {
  while (state.running < AT_ONCE && state.waiting.length) work(state.waiting.shift());
}

async function work(entry) {
  state.running += 1;
  const { done, abort } = send(entry.file, entry.fields, (news) => tell(entry, news));
  entry.abort = abort;
  try {
    const result = await done;
    entry.row.remove();
    $("on-their-way").hidden = !$("clips").children.length;
    state.results.push({ ...result, url: URL.createObjectURL(entry.file), isSound: entry.file.type.startsWith("audio/") });
    show(state.results.length - 1);
  } catch (error) {
    if (!entry.taken) fail(entry, error.message);
  } finally {
    state.running -= 1;
    next();
  }
}

function tell(entry, news) {
  if ("uploaded" in news) {
    entry.bar.value = news.uploaded * 0.5;
    entry.label.textContent = news.uploaded < 1 ? `sending, ${Math.round(100 * news.uploaded)}%` : "sent";
  } else if (news.position) {
    entry.bar.value = 0.5;
    entry.label.textContent = news.position === 1 ? "next in line" : `number ${news.position} in line`;
  } else {
    const names = Object.keys(STAGES);
    entry.bar.value = 0.55 + (0.4 * Math.max(0, names.indexOf(news.stage))) / names.length;
    entry.label.textContent = STAGES[news.stage] || news.stage;
  }
}

function fail(entry, message) {
  entry.row.classList.add("failed");
  entry.bar.remove();
  entry.label.textContent = message.startsWith(`${entry.file.name}: `) ? message.slice(entry.file.name.length + 2) : message;
  entry.button.textContent = "Remove";
}

function takeBack(entry) {
  entry.taken = true;
  state.waiting = state.waiting.filter((other) => other !== entry);
  entry.abort?.();
  entry.row.remove();
  $("on-their-way").hidden = !$("clips").children.length;
}

function show(index) {
  state.shown = index;
  const { prediction, poles, words: shares, url, isSound } = state.results[index];
  const isNewest = state.results.length > 1;
  const player = make(isSound ? "audio" : "video", { src: url, controls: true, playsInline: true });
  const scales = Object.entries(prediction.traits).map(([name, score]) => scale(name, score, poles[name]));
  const used = `Used: ${prediction.used.join(" and ")}. Model: ${prediction.bundle.name}. ${prediction.seconds.total.toFixed(1)} s.`;
  $("result").replaceChildren(
    ...(isNewest ? [make("h2", {}, `${state.results.length} clips`), batch(state.results, index, show)] : []),
    make("h2", { className: "clip-name" }, prediction.clip),
    downloads(),
    make("div", { className: "beside" },
      make("div", {}, player, make("p", { className: "note" }, used),
        make("ul", { className: "warnings" }, ...prediction.warnings.map((line) => make("li", {}, line))),
        ...(prediction.transcript ? [words(prediction, shares)] : [])),
      make("dl", {}, ...scales)));
  $("result").hidden = false;
  $("report").hidden = false;
  const address = `/results/${state.results[index].token}/report.html`;
  $("whole").href = address;
  $("frame").src = address;
}

function downloads() {
  const all = state.results.map((result) => result.token).slice(-100).join(",");
  const link = (name, label) => make("a", { href: `/results/${all}/${name}?download`, download: name }, label);
  const forget = make("a", { href: "#", onclick: (event) => { event.preventDefault(); forgetAll(all); } }, "Forget");
  return make("p", { className: "downloads" }, link("report.html", "Report"), link("predictions.csv", "CSV"),
    link("predictions.json", "JSON"), forget);
}

async function forgetAll(tokens) {
  await fetch(`/results/${tokens}`, { method: "DELETE" });
  state.results.forEach((result) => URL.revokeObjectURL(result.url));
  state.results = [];
  $("result").replaceChildren();
  $("result").hidden = $("report").hidden = true;
  $("frame").removeAttribute("src");
}

// The report is as tall as it is: it never scrolls inside the page.
function fit() {
  const inside = $("frame").contentDocument?.body;
  if (inside) $("frame").style.height = `${Math.ceil(inside.getBoundingClientRect().height) + 2}px`;
}
$("frame").addEventListener("load", () => {
  const inside = $("frame").contentDocument;
  if (!inside?.body) return;
  fit();
  new ResizeObserver(fit).observe(inside.body);
});

$("file").onchange = (event) => take(event.target.files);
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
}
$("example").onclick = async () => {
  const data = await (await fetch("/example.mp4")).blob();
  enqueue(new File([data], "example.mp4", { type: "video/mp4" }), $("transcript").value.trim() || null);
};
$("record").onclick = async () => {
  $("problem").textContent = "";
  try {
    $("recorder").hidden = false;
    const recording = await record($("camera"), (seconds) => { $("clock").textContent = `${seconds.toFixed(0)} s of at most 20 s; speak as you would to a stranger`; });
    $("stop").onclick = recording.stop;
    $("cancel").onclick = recording.cancel;
    const file = await recording.file;
    if (file) enqueue(file, $("transcript").value.trim() || null);
  } catch (error) {
    $("problem").textContent = error.name === "NotAllowedError" ? "The browser may not use the camera. Allow it, or choose a file." : error.message;
  } finally {
    $("recorder").hidden = true;
  }
};
begin().catch(() => { $("problem").textContent = "The server cannot be reached. Is it still running?"; });
