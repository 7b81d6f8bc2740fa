// Derives from a passphrase what the server knows of it, so that the passphrase itself never leaves the browser, and makes the keys of
// the vault for a new one: as Bitwarden clients do. Without crypto.subtle (plain http) the form goes as it is and the server does it.
const subtle = globalThis.crypto?.subtle;
const encoder = new TextEncoder();

const text = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));
const bytes = (letters) => Uint8Array.from(atob(letters), (letter) => letter.charCodeAt(0));

async function pbkdf2(key, salt, iterations) {
  const imported = await subtle.importKey("raw", key, "PBKDF2", false, ["deriveBits"]);
  return subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations }, imported, 256);
}

async function derived(form, passphrase, iterations) {
  const password = encoder.encode(passphrase);
  const master = await pbkdf2(password, encoder.encode(form.dataset.salt), iterations);
  return { master, hashed: text(await pbkdf2(master, password, 1)) };
}

async function encrypted(clear, key) {
  const iv = crypto.getRandomValues(new Uint8Array(16));
  const imported = await subtle.importKey("raw", key, "AES-CBC", false, ["encrypt"]);
  return { iv, content: await subtle.encrypt({ name: "AES-CBC", iv }, imported, clear) };
}

async function wrapped(key, master) {
  const { iv, content } = await encrypted(key, master);
  return `0.${text(iv)}|${text(content)}`;
}

async function unwrapped(kept, master) {
  const [iv, content] = kept.slice(2).split("|").map(bytes);
  const imported = await subtle.importKey("raw", master, "AES-CBC", false, ["decrypt"]);
  return subtle.decrypt({ name: "AES-CBC", iv }, imported, content);
}

async function sealed(clear, key) {
  const { iv, content } = await encrypted(clear, key.slice(0, 32));
  const imported = await subtle.importKey("raw", key.slice(32), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const mac = await subtle.sign("HMAC", imported, new Uint8Array([...iv, ...new Uint8Array(content)]));
  return `2.${text(iv)}|${text(content)}|${text(mac)}`;
}

async function fillNewKeys(form, master) {
  const key = crypto.getRandomValues(new Uint8Array(64));
  const algorithm = { name: "RSA-OAEP", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-1" };
  const pair = await subtle.generateKey(algorithm, true, ["encrypt", "decrypt"]);
  form.elements.key.value = await wrapped(key, master);
  form.elements.public_key.value = text(await subtle.exportKey("spki", pair.publicKey));
  form.elements.private_key.value = await sealed(await subtle.exportKey("pkcs8", pair.privateKey), key);
}

// The vault goes over to the new passphrase; one that the old passphrase does not open is made anew.
async function fillKeys(form, master, old) {
  if (old && form.dataset.key) {
    try {
      form.elements.key.value = await wrapped(await unwrapped(form.dataset.key, old), master);
      return;
    } catch { /* another passphrase was typed: the server refuses it */ }
  }
  await fillNewKeys(form, master);
}

function send(form, values) {
  for (const [field, value] of values) {
    const hidden = document.createElement("input");
    hidden.type = "hidden";
    hidden.name = field.name;
    hidden.value = value;
    field.removeAttribute("name");
    form.append(hidden);
  }
  if (form.elements.clear) form.elements.clear.value = "0";
  form.submit();
}

async function submit(form) {
  const values = [];
  let old;
  for (const field of form.querySelectorAll("[data-secret]")) {
    const isKnown = field.dataset.secret === "known";
    const iterations = Number(isKnown ? form.dataset.iterations : form.elements.iterations.value);
    if (!iterations) { // a cozy of long ago: the server derives it, once
      values.push([field, field.value]);
      continue;
    }
    const { master, hashed } = await derived(form, field.value, iterations);
    if (isKnown) old = master;
    else await fillKeys(form, master, old);
    values.push([field, hashed]);
  }
  const redirect = form.elements.redirect;
  if (redirect?.value && location.hash && !redirect.value.includes("#")) redirect.value += location.hash;
  send(form, values);
}

if (subtle) {
  for (const form of document.querySelectorAll("form[data-salt]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      form.querySelector("button[type=submit]").disabled = true;
      submit(form);
    });
  }
}
