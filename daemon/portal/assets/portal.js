// Says when the page no longer follows the gateway, and keeps an error's page out of this one.
(() => {
  "use strict";
  const stale = document.getElementById("stale");
  const asOf = () => document.getElementById("asof").textContent;
  const lost = () => {
    if (stale.hidden) {
      stale.textContent = `✕ The gateway does not answer. What is shown is of ${asOf()}; the page goes on trying.`;
      stale.hidden = false;
    }
  };
  document.addEventListener("htmx:error", lost);
  document.addEventListener("htmx:response:error", lost);
  document.addEventListener("htmx:before:swap", (e) => {
    if (e.detail.ctx.response.status !== 200) {
      e.preventDefault();
    }
  });
  document.addEventListener("htmx:after:swap", () => {
    stale.hidden = true;
    const found = document.getElementById("found"); // a search is kept in the address, for Reload and for links
    if (found) {
      history.replaceState(null, "", found.dataset.address);
    }
  });
})();
