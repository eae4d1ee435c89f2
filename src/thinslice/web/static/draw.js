// Results as elements of the page. Text goes in as text, never as markup.

/** Return an element with classes, properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || name === "role" || name === "scope" || name === "target" || name === "rel" || name === "download") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Return one trait's scale: a dot for the score, a band for its 80% interval, poles below. */
export function scale(name, score, poles) {
  const bar = make("div", { className: "bar", role: "img" });
  bar.setAttribute("aria-label", `${score.score.toFixed(2)}, probably between ${score.low.toFixed(2)} and ${score.high.toFixed(2)}`);
  const band = make("span", { className: "band" });
  band.style.setProperty("--low", `${100 * score.low}%`);
  band.style.setProperty("--width", `${100 * (score.high - score.low)}%`);
  const dot = make("span", { className: "dot" });
  dot.style.setProperty("--at", `${100 * score.score}%`);
  bar.append(band, dot);
  const place = `higher than ${Math.round(score.percentile)}% of the training clips`;
  return make("div", { className: "scale" },
    make("dt", {}, name),
    make("dd", { className: "value" }, score.score.toFixed(2)),
    make("dd", { className: "figure" }, bar,
      make("p", { className: "poles" }, make("span", {}, poles[0]), make("span", {}, place), make("span", {}, poles[1]))));
}

/** Return the transcript with each word coloured by its share in one trait, and buttons to choose the trait. */
export function words(prediction, shares) {
  const traits = Object.keys(prediction.traits);
  const text = make("p", { className: "text" });
  const largest = Math.max(0, ...shares.flatMap((word) => Object.values(word.shares).map(Math.abs)));
  const paint = (trait) => {
    text.replaceChildren();
    let at = 0;
    const characters = Array.from(prediction.transcript); // Word starts count characters, not UTF-16 units.
    for (const word of shares) {
      const length = Array.from(word.text).length;
      if (word.start < at || characters.slice(word.start, word.start + length).join("") !== word.text) continue;
      text.append(characters.slice(at, word.start).join(""));
      const share = word.shares[trait] || 0;
      const level = largest ? Math.round((4 * Math.abs(share)) / largest) : 0;
      const title = `${share < 0 ? "−" : "+"}${Math.abs(share).toFixed(3)}`;
      text.append(level ? make("mark", { className: `${share < 0 ? "down" : "up"}${level}`, title }, word.text) : word.text);
      at = word.start + length;
    }
    text.append(characters.slice(at).join(""));
  };
  const moved = (trait) => shares.reduce((sum, word) => sum + Math.abs(word.shares[trait] || 0), 0);
  const tabs = traits.map((trait) => make("button", { type: "button", "aria-pressed": "false" }, trait));
  const choose = (index) => {
    tabs.forEach((tab, other) => tab.setAttribute("aria-pressed", String(other === index)));
    paint(traits[index]);
  };
  tabs.forEach((tab, index) => { tab.onclick = () => choose(index); });
  choose(traits.reduce((best, trait, index) => (moved(trait) > moved(traits[best]) ? index : best), 0));
  return make("div", { className: "words" },
    make("h2", {}, "What was said"),
    ...(shares.length ? [make("div", { className: "tabs", role: "group", "aria-label": "Colour the words by" }, ...tabs)] : []),
    text,
    ...(shares.length ? [make("p", { className: "note" }, "Blue words raised the score, orange ones lowered it.")] : []));
}

/** Return a table of several results; show(index) is called where one is chosen. */
export function batch(results, shown, show) {
  const traits = Object.keys(results[0].prediction.traits);
  const head = make("tr", {}, make("th", { scope: "col" }, "clip"), ...traits.map((trait) => make("th", { scope: "col" }, trait)));
  const rows = results.map((result, index) => make("tr", { className: index === shown ? "shown" : "" },
    make("th", { scope: "row" }, make("button", { type: "button", onclick: () => show(index), title: result.prediction.clip }, result.prediction.clip)),
    ...traits.map((trait) => make("td", {}, result.prediction.traits[trait]?.score.toFixed(2) ?? ""))));
  return make("div", { className: "batch" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}
