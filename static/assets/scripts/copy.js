// Gives what is to be typed elsewhere (addresses, commands, the password) a button that copies it, where the browser has a clipboard.
const main = document.getElementById("main");

function withButton(node) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = main.dataset.copy;
  button.setAttribute("aria-label", `${main.dataset.copy}: ${node.dataset.copyable || node.textContent}`);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(node.textContent);
    button.textContent = main.dataset.copied;
    document.getElementById("copied").textContent = main.dataset.copied;
    setTimeout(() => { button.textContent = main.dataset.copy; }, 2000);
  });
  (node.closest("pre") ?? node).after(button);
}

if (navigator.clipboard) document.querySelectorAll("[data-copyable]").forEach(withButton);
