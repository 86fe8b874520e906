// Everything here is a convenience: the pages work without it.
'use strict';
(() => {
  const main = () => document.getElementById('main');

  // Live: fetch the page again and swap its content, unless somebody is at work in it.
  const box = document.getElementById('live');
  const page = location.pathname.split('/').pop() || 'overview';
  const calm = ['trace', 'traces', 'switches', 'sampling'].includes(page);
  let stored = null;
  try { stored = localStorage.getItem('heddle.live'); } catch (e) { /* not allowed: stays on */ }
  if (!calm) {
    box.parentElement.hidden = false;
    box.checked = stored !== 'off';
    box.addEventListener('change', () => {
      try { localStorage.setItem('heddle.live', box.checked ? 'on' : 'off'); } catch (e) { /* as above */ }
    });
    setInterval(async () => {
      const open = main().querySelector('details[open]');
      if (!box.checked || document.hidden || open || main().contains(document.activeElement) && document.activeElement !== main() || String(getSelection())) return;
      try {
        const res = await fetch(location.href, {headers: {Accept: 'text/html'}});
        if (!res.ok) return;
        const next = new DOMParser().parseFromString(await res.text(), 'text/html');
        main().replaceChildren(...next.getElementById('main').childNodes);
        document.querySelector('header time').replaceWith(next.querySelector('header time'));
      } catch (e) { /* the process is away: the page stays as it was */ }
    }, 3000);
  }

  // Keys: 1 to 9 are the pages, / is the first field, j and k walk the spans of
  // a trace, h and l fold and unfold what is below one, Enter opens it.
  const rows = [...document.querySelectorAll('.fitem')];
  const summary = (i) => rows[i].firstElementChild;
  const fold = (i, hide) => {
    const depth = +rows[i].dataset.depth;
    for (let k = i + 1; k < rows.length && +rows[k].dataset.depth > depth; k++) rows[k].classList.toggle('hide', hide);
  };
  document.addEventListener('keydown', (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName)) return;
    const link = /^[1-9]$/.test(e.key) && document.querySelectorAll('nav a')[e.key - 1];
    if (link) { location.href = link.href; return; }
    if (e.key === '/') {
      const field = main().querySelector('input:not([type=hidden])');
      if (field) { e.preventDefault(); field.focus(); }
      return;
    }
    if (!rows.length || !'jkhl'.includes(e.key)) return;
    let i = rows.findIndex((r) => r.contains(document.activeElement));
    if (e.key === 'h' || e.key === 'l') { if (i >= 0) fold(i, e.key === 'h'); return; }
    const step = e.key === 'j' ? 1 : -1;
    for (i += step; i >= 0 && i < rows.length && rows[i].classList.contains('hide');) i += step;
    if (i >= 0 && i < rows.length) summary(i).focus();
  });
})();
