/** The page before a meeting for someone who is not in it: takes the invite from the address's fragment. */

const form = document.getElementById("knock");
const code = form.elements.invite;
const problem = document.getElementById("knock-problem");

function fromFragment() {
  const invite = new URLSearchParams(window.location.hash.slice(1)).get("invite");
  if (!invite) return;
  code.value = invite;
  document.getElementById("knock-code").hidden = true;
  document.getElementById("knock-lead").textContent = form.dataset.invited;
  // Out of the address bar and the history, so that it is not passed on by accident.
  window.history.replaceState(null, "", window.location.pathname);
  form.elements.name.focus();
}

/** A pasted invite address is as good as the code in it. */
code.addEventListener("input", () => {
  const at = code.value.indexOf("#invite=");
  if (at >= 0) code.value = decodeURIComponent(code.value.slice(at + "#invite=".length));
  problem?.remove();
});

window.addEventListener("hashchange", fromFragment);
fromFragment();
