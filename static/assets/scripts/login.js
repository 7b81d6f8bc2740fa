// Derives from the passphrase what the server knows of it, so that the passphrase itself never leaves the browser:
// two rounds of PBKDF2-HMAC-SHA256, as the official clients do. Without crypto.subtle (plain http) the server does it.
const form = document.getElementById("login-form");
const encoder = new TextEncoder();

async function pbkdf2(key, salt, iterations) {
  const imported = await crypto.subtle.importKey("raw", key, "PBKDF2", false, ["deriveBits"]);
  return crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations }, imported, 256);
}

async function derive(passphrase) {
  const password = encoder.encode(passphrase);
  const master = await pbkdf2(password, encoder.encode(form.dataset.salt), Number(form.dataset.iterations));
  const hashed = await pbkdf2(master, password, 1);
  return btoa(String.fromCharCode(...new Uint8Array(hashed)));
}

if (globalThis.crypto?.subtle) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = form.elements.passphrase;
    const button = form.querySelector("button[type=submit]");
    button.disabled = true;
    const hidden = document.createElement("input");
    hidden.type = "hidden";
    hidden.name = "passphrase";
    hidden.value = await derive(field.value);
    field.removeAttribute("name");
    form.elements.clear.value = "0";
    form.append(hidden);
    form.submit();
  });
}
