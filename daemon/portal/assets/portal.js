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
    if (document.querySelector("#live [data-ended]")) { // it has ended: what was said before is old
      document.getElementById("flash")?.remove();
    }
    const found = document.getElementById("found"); // a search is kept in the address, for Reload and for links
    if (found) {
      history.replaceState(null, "", found.dataset.address);
    }
    const now = document.getElementById("open-now"); // the bar is outside of what is swapped
    if (now) {
      document.getElementById("open-count").textContent = now.textContent;
      document.getElementById("open").hidden = now.textContent === "0";
    }
  });

  // Follows the gateway: each event says that something changed, and the page asks what. So it does when the stream breaks,
  // which finds out whether the gateway is away or the session is over.
  const live = document.querySelector("[data-events]");
  if (live) {
    const ask = () => htmx.trigger(live, "changed");
    let source;
    const follow = () => {
      source = new EventSource(live.dataset.events);
      source.addEventListener("changed", ask);
      source.addEventListener("error", () => {
        if (source.readyState === EventSource.CLOSED) { // refused, for good as far as the browser is concerned
          setTimeout(follow, 15000);
        }
        ask();
      });
    };
    follow();
    window.addEventListener("pagehide", () => source.close());
    window.addEventListener("pageshow", (e) => {
      if (e.persisted) { // the browser kept the page, and shows it again
        follow();
      }
    });
  }
})();
