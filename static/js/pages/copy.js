/** "Copy" buttons beside links, also in what is loaded later. */

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy]");
  if (!button) return;
  const field = document.getElementById(button.dataset.copy);
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    button.querySelector("span:last-child").textContent = button.dataset.done;
  } catch {
    // not a secure context: the text is selected, Ctrl+C is left to the person
  }
});
