// Choices of several (`data-pick`, a disclosure with check boxes): its face says what is chosen; a click elsewhere or Escape closes it.
export function startPicks() {
  document.addEventListener("change", (event) => {
    const pick = event.target.closest("[data-pick]");
    if (pick) show(pick);
  });
  document.addEventListener("click", (event) => {
    for (const pick of document.querySelectorAll("[data-pick][open]")) if (!pick.contains(event.target)) pick.open = false;
  });
  document.addEventListener("focusin", (event) => {
    for (const pick of document.querySelectorAll("[data-pick][open]")) if (!pick.contains(event.target)) pick.open = false;
  });
  document.addEventListener("keydown", (event) => {
    const pick = event.key === "Escape" && event.target.closest?.("[data-pick][open]");
    if (!pick) return;
    pick.open = false;
    pick.querySelector("summary").focus();
  });
  for (const pick of document.querySelectorAll("[data-pick]")) show(pick); // a browser may have kept what was checked before
}

function show(pick) {
  const chosen = [...pick.querySelectorAll("input:checked")].map((input) => input.closest("label").textContent.trim());
  const text = pick.querySelector("[data-pick-text]");
  const said = chosen.join(", ");
  text.textContent = said ? said[0].toUpperCase() + said.slice(1) : text.dataset.any;
}
