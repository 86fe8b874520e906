// Everything here is a convenience: the pages work without it.
'use strict';
(() => {
  const main = () => document.getElementById('main');

  // Live: the server streams the page's content when it has changed; where that
  // does not work the page is fetched again. Nothing is swapped while somebody
  // is at work in it, and nothing is asked for while nobody sees it.
  const box = document.getElementById('live');
  const page = location.pathname.split('/').pop();
  const calm = ['trace', 'traces', 'switches', 'sampling'].includes(page);
  let stored = null;
  try { stored = localStorage.getItem('heddle.live'); } catch (e) { /* not allowed: stays on */ }
  const watched = () => box.checked && !document.hidden;
  const busy = () => main().querySelector('details[open]') || main().contains(document.activeElement) && document.activeElement !== main() || String(getSelection());
  const swap = (nodes, time) => {
    if (!watched() || busy()) return;
    main().replaceChildren(...nodes);
    document.querySelector('header time').textContent = time;
  };
  const parse = (html) => new DOMParser().parseFromString(html, 'text/html');
  const poll = async () => {
    if (!watched() || busy()) return;
    try {
      const res = await fetch(location.href, {headers: {Accept: 'text/html'}});
      if (!res.ok) return;
      const next = parse(await res.text());
      swap(next.getElementById('main').childNodes, next.querySelector('header time').textContent);
    } catch (e) { /* the process is away: the page stays as it was */ }
  };
  let stream = null, polling = 0, again = 0;
  const stop = () => {
    if (stream) stream.close();
    clearInterval(polling);
    clearTimeout(again);
    stream = null;
    polling = again = 0;
    document.body.dataset.live = 'off';
  };
  const start = () => {
    stop();
    if (!watched()) return;
    stream = new EventSource('live?page=' + encodeURIComponent('/' + page + location.search));
    document.body.dataset.live = 'stream';
    stream.onmessage = (e) => {
      const got = JSON.parse(e.data);
      swap(parse(got.main).body.childNodes, got.time);
    };
    stream.onerror = () => {
      if (!stream || stream.readyState !== EventSource.CLOSED) return; // it connects again by itself
      stop();
      document.body.dataset.live = 'poll';
      polling = setInterval(poll, 3000);
      again = setTimeout(start, 30000);
    };
  };
  if (!calm) {
    box.parentElement.hidden = false;
    box.checked = stored !== 'off';
    box.addEventListener('change', () => {
      try { localStorage.setItem('heddle.live', box.checked ? 'on' : 'off'); } catch (e) { /* as above */ }
      start();
    });
    document.addEventListener('visibilitychange', start);
    addEventListener('pagehide', stop);
    addEventListener('pageshow', start);
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
