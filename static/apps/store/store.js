/** Store: what registries have, what is installed of it, and how the one becomes the other. `#/discover/<slug>` is the page of an app. */

import { ask, at, follow, given, language, nameOf, watch } from "./cloud.js";
import { iconOf, make, show } from "./parts.js";
import { words } from "./words.js";

const KINDS = ["all", "webapp", "konnector", "installed", "updates"];
const KEPT = new Set(["home", "store"]);
const BASES = { webapp: "/apps", konnector: "/konnectors" };

const known = new Map();
const have = new Map();
const chosen = { kind: "all", text: "" };
const said = make("p.note", { role: "status", hidden: true });
const view = make("main.whole", { id: "main", tabindex: "-1" });

document.body.append(
  make("a.skip", { href: "#main" }, words.skip),
  make(
    "header.bar",
    {},
    make("a.mark", { href: "#/" }, make("img", { src: "icon.svg", alt: "", width: 28, height: 28 }), given.app.name),
    make("a.btn.quiet", { href: at("/") }, words.home),
  ),
  view,
);

// -- what there is --------------------------------------------------------------------------------------------------------

const key = (type, slug) => `${type === "konnector" ? "konnector" : "webapp"}/${slug}`;

/** An app as the page shows it, from what the registry tells of it. */
function keep(app) {
  const version = app.latest_version;
  const manifest = version?.manifest ?? {};
  known.set(key(app.type, app.slug), { ...app, manifest, version: version?.version ?? "", name: nameOf({ ...manifest, slug: app.slug }) });
}

function keepInstalled(doc, links) {
  const name = key(doc.type, doc.slug);
  have.set(name, { ...doc, address: links?.related ?? have.get(name)?.address ?? "" });
}

async function load() {
  const [registry, apps, konnectors] = await Promise.all([
    ask("GET", "/registry?limit=1000&versionsChannel=beta&latestChannelVersion=stable"),
    ask("GET", "/apps/?limit=1000"),
    ask("GET", "/konnectors/?limit=1000"),
  ]);
  known.clear();
  have.clear();
  for (const app of registry.data) keep(app);
  for (const one of apps.data) keepInstalled({ ...one.attributes, type: "webapp" }, one.links);
  for (const one of konnectors.data) keepInstalled({ ...one.attributes, type: "konnector" }, one.links);
}

/** The version that an installed app could have; empty when it has it. */
function waiting(app) {
  const own = have.get(key(app.type, app.slug));
  if (!own) return "";
  if (own.available_version) return own.available_version;
  return own.source?.startsWith("registry://") && app.version && app.version !== own.version && isNewer(app.version, own.version) ? app.version : "";
}

function isNewer(one, other) {
  return one.localeCompare(other, "en", { numeric: true }) > 0;
}

// -- the list -------------------------------------------------------------------------------------------------------------

function drawList() {
  const box = make("input", {
    id: "search",
    type: "search",
    value: chosen.text,
    placeholder: words.search,
    "aria-label": words.search,
    input: (event) => {
      chosen.text = event.target.value;
      drawRows();
    },
  });
  const kinds = KINDS.map((kind) => make("button", { type: "button", id: `kind-${kind}`, "aria-pressed": String(chosen.kind === kind), click: () => choose(kind) }, words[kind]));
  show(view, make("div.sheet", {}, make("h1", {}, words.title), make("div.tools", {}, box, make("div.kinds", { role: "group", "aria-label": words.search }, kinds)), make("div", { id: "rows" })));
  drawRows();
}

function choose(kind) {
  chosen.kind = kind;
  for (const one of KINDS) document.getElementById(`kind-${one}`).setAttribute("aria-pressed", String(one === kind));
  drawRows();
}

function drawRows() {
  const place = document.getElementById("rows");
  if (!place) return;
  const wanted = chosen.text.trim().toLocaleLowerCase(language);
  const found = [...known.values()]
    .filter((app) => isOf(app, chosen.kind) && (!wanted || `${app.name} ${app.slug} ${about(app)}`.toLocaleLowerCase(language).includes(wanted)))
    .sort((one, other) => one.name.localeCompare(other.name, language));
  show(place, found.length ? make("ul.list", {}, found.map(row)) : make("p.muted", {}, wanted ? words.nothing : words.empty));
}

function isOf(app, kind) {
  if (kind === "installed") return have.has(key(app.type, app.slug));
  if (kind === "updates") return Boolean(waiting(app));
  return kind === "all" || (app.type === "konnector") === (kind === "konnector");
}

function row(app) {
  const target = `#/discover/${app.slug}`;
  return make("li", {}, make("a.row", { href: target, id: `row-${app.slug}` }, icon(app), make("span", {}, make("b", {}, app.name), make("span.muted.small", {}, about(app) || app.editor), state(app) && make("span.state", {}, state(app)))));
}

const icon = (app) => iconOf(app.manifest.icon ? at(`/registry/${app.slug}/icon`) : "", app.name);
const about = (app) => app.manifest.locales?.[language]?.short_description ?? app.manifest.short_description ?? "";

function state(app) {
  const own = have.get(key(app.type, app.slug));
  if (app.maintenance_activated) return words.maintenance;
  if (!own) return "";
  if (own.available_version) return words.waits;
  return waiting(app) ? words.newer(waiting(app)) : words.isInstalled;
}

// -- one app --------------------------------------------------------------------------------------------------------------

function drawApp(slug) {
  const app = known.get(key("webapp", slug)) ?? known.get(key("konnector", slug));
  const back = make("a.back", { href: "#/", id: "back" }, words.back);
  if (!app) return show(view, make("div.sheet", {}, back, make("h1", {}, slug), make("p.muted", {}, words.unknown)));
  const manifest = app.manifest;
  const own = have.get(key(app.type, slug));
  const long = manifest.locales?.[language]?.long_description ?? manifest.long_description ?? about(app);
  const shots = manifest.locales?.[language]?.screenshots ?? manifest.screenshots ?? [];
  said.hidden = true;
  return show(
    view,
    make(
      "article.sheet",
      {},
      back,
      make("div.head", {}, icon(app), make("div", {}, make("h1", {}, app.name), make("p.muted", {}, words.by(app.editor, own?.version ?? app.version)), state(app) && make("p.state", {}, state(app))), make("div.acts", { id: "acts" }, acts(app, own))),
      said,
      long && make("p.about", {}, long),
      shots.length > 0 && make("div.shots", {}, shots.map((shot) => make("img", { src: at(`/registry/${slug}/screenshots/${shot}`), alt: "", loading: "lazy" }))),
      make("h2", {}, words.rights),
      rights(manifest, own),
      manifest.terms?.url && make("p", {}, make("a.back", { href: manifest.terms.url, rel: "noopener", target: "_blank" }, words.terms)),
    ),
  );
}

function acts(app, own) {
  const found = [];
  const button = (id, text, act, main) => make(main ? "button.btn.primary" : "button.btn", { type: "button", id, click: act }, text);
  if (!own && app.version) {
    const beta = app.versions?.beta?.at(-1);
    const channel = beta && beta !== app.versions.stable?.at(-1) ? make("select", { id: "channel", "aria-label": words.channel }, make("option", { value: "stable" }, words.stable), make("option", { value: "beta" }, words.beta)) : null;
    found.push(channel, button("install", words.install, () => run("POST", app, `Source=registry://${app.slug}/${channel?.value ?? "stable"}`, words.installing), true));
  }
  if (own && waiting(app)) found.push(button("update", words.update, () => run("PUT", app, `PermissionsAcked=true&Source=${encodeURIComponent(own.source)}`, words.upgrading), true));
  if (own?.address) found.push(make("a.btn", { id: "open", href: own.address }, words.open));
  if (own && !KEPT.has(app.slug)) found.push(button("remove", words.remove, () => confirmed(app)));
  return found;
}

/** What it may do, in plain words; of an update, what is new of it. */
function rights(manifest, own) {
  const rules = Object.entries(manifest.permissions ?? {});
  if (!rules.length) return make("p.muted", {}, words.noRights);
  const before = new Set(Object.values(own?.permissions ?? {}).map(sentence));
  return make(
    "ul.rights",
    {},
    rules.map(([title, rule]) => {
      const isNew = own && !before.has(sentence(rule));
      const why = manifest.locales?.[language]?.permissions?.[title]?.description ?? rule.description;
      return make(isNew ? "li.new" : "li", {}, make("span", {}, isNew ? `${sentence(rule)} (${words.isNew})` : sentence(rule)), why && make("span.muted.small", {}, why));
    }),
  );
}

function sentence(rule) {
  const what = words.what[rule.type] ?? rule.type;
  const onlyReads = rule.verbs?.length && rule.verbs.every((verb) => verb === "GET");
  const text = onlyReads ? words.reads(what) : words.changes(what);
  return text[0].toLocaleUpperCase(language) + text.slice(1);
}

// -- changing -------------------------------------------------------------------------------------------------------------

/** Install or update, told as it goes. */
async function run(method, app, query, text) {
  busy(true);
  tell(text);
  try {
    let last;
    await follow(method, `${BASES[app.type] ?? BASES.webapp}/${app.slug}?${query}`, (resource) => {
      last = resource;
      tell(words[resource.attributes.state] ?? words.done);
    });
    if (last) keepInstalled({ ...last.attributes, type: app.type }, last.links);
    drawApp(app.slug);
    tell(words.done);
    document.getElementById("open")?.focus();
  } catch (error) {
    busy(false);
    tell(error.message || words.failed, true);
  }
}

function confirmed(app) {
  const asked = make(
    "dialog",
    { "aria-labelledby": "sure", close: () => asked.remove() },
    make(
      "form",
      { method: "dialog" },
      make("p", { id: "sure" }, words.sure(app.name)),
      make("div.acts", {}, make("button.btn.primary", { value: "yes", click: () => remove(app) }, words.remove), make("button.btn", { value: "no", autofocus: true }, words.cancel)),
    ),
  );
  document.body.append(asked);
  asked.showModal();
}

async function remove(app) {
  busy(true);
  tell(words.removing);
  try {
    await ask("DELETE", `${BASES[app.type] ?? BASES.webapp}/${app.slug}`);
    have.delete(key(app.type, app.slug));
    drawApp(app.slug);
    tell(words.done);
    document.getElementById("install")?.focus();
  } catch (error) {
    busy(false);
    tell(error.message || words.failed, true);
  }
}

function busy(is) {
  for (const one of document.querySelectorAll("#acts button, #acts select")) one.disabled = is;
}

function tell(text, isBad = false) {
  said.hidden = false;
  said.className = isBad ? "note bad" : "note";
  said.textContent = text;
}

// -- all of it ------------------------------------------------------------------------------------------------------------

function draw() {
  const slug = /^#\/discover\/([a-z0-9-]+)/.exec(location.hash)?.[1];
  if (slug) drawApp(slug);
  else drawList();
}

async function begin() {
  try {
    await load();
    draw();
  } catch (error) {
    show(view, make("div.sheet", {}, make("h1", {}, words.title), make("p.note.bad", { role: "status" }, error.message || words.failed, make("button.btn", { type: "button", id: "retry", click: begin }, words.retry))));
  }
}

function told(type, event, doc) {
  const kind = type === "io.cozy.apps" ? "webapp" : "konnector";
  if (event === "DELETED") have.delete(key(kind, doc.slug));
  else if (doc.state === "ready") keepInstalled({ ...doc, type: kind });
  if (!location.hash.startsWith("#/discover/")) drawRows();
}

addEventListener("hashchange", () => {
  draw();
  view.focus();
});
begin();
watch(["io.cozy.apps", "io.cozy.konnectors"], told, begin);
