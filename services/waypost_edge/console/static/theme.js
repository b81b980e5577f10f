// Before the first paint: the colours that somebody chose. Loaded in the head, on purpose not as a module.
(() => {
  try {
    const choice = localStorage.getItem("waypost.theme");
    if (choice === "light" || choice === "dark") document.documentElement.dataset.theme = choice;
  } catch { /* storage is switched off: the system's colours */ }
})();
