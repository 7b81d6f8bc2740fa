/** Home: her apps and how they are, her devices, her storage, and the way to her settings. */

import { ask, at, given, language, logOut, nameOf, watch } from "./cloud.js";
import { iconOf, make, show } from "./parts.js";
import { words } from "./words.js";

const BUSY = new Set(["installing", "upgrading"]);
const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

const places = draw();
const apps = new Map();
const services = new Map();

/** The page's frame; the places that are filled when their data comes. */
function draw() {
  const made = {
    hello: make("h1"),
    note: make("p.note.bad", { role: "status", hidden: true }),
    apps: make("div"),
    look: make("a.btn.look", { hidden: true }, words.store),
    services: make("section", { "aria-labelledby": "services", hidden: true }),
    devices: make("div"),
    storage: make("section.card", { "aria-labelledby": "storage", hidden: true }),
  };
  const name = given.domain.split(".")[0];
  made.hello.textContent = words.hello(name);
  document.body.append(
    make("a.skip", { href: "#main" }, words.skip),
    make(
      "header.bar",
      {},
      make("span.mark", {}, make("img", { src: "icon.svg", alt: "", width: 28, height: 28 }), given.app.name),
      make("button.btn.quiet", { type: "button", click: logOut }, words.logOut),
      make("img.face", { src: at("/public/avatar?fallback=initials"), alt: "", width: 32, height: 32 }),
    ),
    make(
      "main.columns",
      { id: "main", tabindex: "-1" },
      make("div.sheet", {}, made.hello, made.note, make("h2", { id: "apps" }, words.apps), made.apps, made.look, made.services),
      make(
        "aside.side",
        { "aria-label": words.settings },
        make("section.card", { "aria-labelledby": "devices" }, make("h2", { id: "devices" }, words.devices), made.devices, make("a.btn.primary", { href: at("/sync/") }, words.connect)),
        made.storage,
        make(
          "nav.card",
          { "aria-labelledby": "settings" },
          make("h2", { id: "settings" }, words.settings),
          make("ul.links", {}, link("/auth/security/", words.security), link("/sync/links", words.links)),
        ),
      ),
    ),
  );
  return made;
}

function link(path, text) {
  return make("li", {}, make("a", { href: at(path) }, text));
}

// -- apps -----------------------------------------------------------------------------------------------------------------

function drawApps() {
  const sorted = [...apps.values()].filter((app) => app.slug !== given.app.slug).sort(byName);
  if (sorted.length) show(places.apps, make("ul.grid", { "aria-labelledby": "apps" }, sorted.map(tile)));
  else show(places.apps, make("p.muted", {}, words.none));
  places.look.hidden = !apps.has("store") || sorted.some((app) => app.slug !== "store");
  places.look.href = apps.get("store")?.address ?? "";
  const others = [...services.values()].sort(byName);
  places.services.hidden = !others.length;
  if (others.length) show(places.services, make("h2", { id: "services" }, words.services), make("ul.grid", { "aria-labelledby": "services" }, others.map(tile)));
}

const byName = (one, other) => nameOf(one).localeCompare(nameOf(other), language);

/** An app: it opens when it can be used, and says how it is when there is something to say. */
function tile(app) {
  const name = nameOf(app);
  const state = [words[app.state], app.state === "errored" && app.error].filter(Boolean).join(" ");
  const inside = [iconOf(app.icon_address, name), make("span.name", {}, name), state && make("span.state", {}, state)];
  const opens = app.address && !BUSY.has(app.state);
  return make(
    "li",
    {},
    opens ? make("a.tile", { id: `app-${app.slug}`, href: app.address }, inside) : make("span.tile.idle", {}, inside),
    app.available_version && make("a.state", { href: inStore(app.slug), "aria-label": `${name}: ${words.waits}` }, words.waits),
  );
}

/** The page of an app in the store, where updates are agreed to; null without a store. */
function inStore(slug) {
  const address = apps.get("store")?.address;
  return address ? `${address}#/discover/${slug}` : null;
}

/** What the page needs of an app, from a resource or from a document of an event. */
function keep(list, shown, links, base) {
  const known = list.get(shown.slug) ?? {};
  const icon = shown.icon ? `${base}/${shown.slug}/icon/${shown.version}` : "";
  list.set(shown.slug, { ...shown, icon_address: icon && at(icon), address: links?.related ?? known.address ?? addressOf(shown, base) });
}

/** Where an app is that was installed a moment ago: beside this one. */
function addressOf(app, base) {
  return base === "/apps" && app.state === "ready" ? location.href.replace(`//${given.app.slug}.`, `//${app.slug}.`).replace(`-${given.app.slug}.`, `-${app.slug}.`).split("#")[0] : "";
}

async function loadApps() {
  const [own, others] = await Promise.all([ask("GET", "/apps/?limit=200"), ask("GET", "/konnectors/?limit=200")]);
  apps.clear();
  services.clear();
  for (const one of own.data) keep(apps, one.attributes, one.links, "/apps");
  for (const one of others.data) keep(services, one.attributes, one.links, "/konnectors");
  drawApps();
}

function told(type, event, doc) {
  const list = type === "io.cozy.apps" ? apps : services;
  if (event === "DELETED") list.delete(doc.slug);
  else keep(list, doc, null, type === "io.cozy.apps" ? "/apps" : "/konnectors");
  drawApps();
}

// -- devices, storage, her name -------------------------------------------------------------------------------------------

async function loadDevices() {
  const found = (await ask("GET", "/settings/clients")).data;
  if (!found.length) return show(places.devices, make("p.muted", {}, words.noDevices));
  const rows = found.map(({ attributes: one }) => {
    const seen = one.synchronized_at ?? one.last_refreshed_at;
    return make("li", {}, make("b", {}, one.client_name ?? one.client_kind ?? ""), make("span.muted.small", {}, seen ? words.seen(day(seen)) : words.neverSeen));
  });
  return show(places.devices, make("ul.devices", {}, rows));
}

async function loadStorage() {
  const { used, quota } = (await ask("GET", "/settings/disk-usage")).data.attributes;
  const text = words.used(size(Number(used)), quota ? size(Number(quota)) : "");
  const meter = quota && make("meter", { value: Number(used), max: Number(quota), "aria-label": words.storage });
  places.storage.hidden = false;
  show(places.storage, make("h2", { id: "storage" }, words.storage), meter, make("p.muted.small", {}, text));
}

async function loadName() {
  const { public_name: name } = (await ask("GET", "/settings/instance")).data.attributes;
  if (name) places.hello.textContent = words.hello(name);
}

function day(text) {
  return new Date(text).toLocaleDateString(language, { day: "numeric", month: "long", year: "numeric" });
}

function size(bytes) {
  const step = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), UNITS.length - 1);
  const form = { style: "unit", unit: UNITS[step], unitDisplay: step ? "short" : "long", maximumFractionDigits: 1 };
  return new Intl.NumberFormat(language, form).format(bytes / 1000 ** step);
}

// -- all of it ------------------------------------------------------------------------------------------------------------

/** Load everything; what fails says so, and the rest stays. */
async function load() {
  const done = await Promise.allSettled([loadApps(), loadDevices(), loadStorage(), loadName()]);
  const failed = done.find((one) => one.status === "rejected")?.reason;
  places.note.hidden = !failed;
  if (failed) show(places.note, failed.status === 0 ? words.offline : words.failed, " ", make("button.btn", { type: "button", id: "retry", click: load }, words.retry));
}

load();
watch(["io.cozy.apps", "io.cozy.konnectors"], told, load);
