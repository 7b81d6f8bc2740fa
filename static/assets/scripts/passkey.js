// Makes or shows a passkey: asks the server for the options, the browser for the key, and sends its answer with the form.
async function options(form) {
  const body = new URLSearchParams({ csrf_token: form.elements.csrf_token.value });
  const answer = await fetch(form.dataset.options, { method: "POST", body, headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(answer.statusText);
  const given = await answer.json();
  form.elements.attempt.value = given.attempt;
  return JSON.parse(given.options);
}

async function credential(form) {
  const given = await options(form);
  if ("creates" in form.dataset) return navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(given) });
  return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(given) });
}

async function submit(form) {
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    form.elements.answer.value = JSON.stringify((await credential(form)).toJSON());
    form.submit();
  } catch {
    const alert = form.querySelector("[role=alert]");
    alert.textContent = form.dataset.failed;
    alert.hidden = false;
    button.disabled = false;
  }
}

if (globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON) {
  for (const form of document.querySelectorAll("form.passkey")) {
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      submit(form);
    });
  }
}
