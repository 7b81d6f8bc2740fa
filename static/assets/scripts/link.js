// Gives the password of a share link to the main host, and has the page drawn again: its host has a cookie of its own by then.
const form = document.querySelector("form");
const refused = document.querySelector("[role=alert]");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await fetch(form.action, { method: "POST", credentials: "include", body: new URLSearchParams(new FormData(form)) });
  if (answer.ok) {
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `pass${form.elements.perm_id.value}=${form.dataset.mark}; Path=/; SameSite=Lax${secure}`;
    location.reload();
    return;
  }
  refused.textContent = (await answer.json()).error;
  refused.hidden = false;
  form.elements.password.setAttribute("aria-invalid", "true");
  form.elements.password.select();
});
