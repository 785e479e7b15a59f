'use strict';
(() => {
  const $ = id => document.getElementById(id);
  const SVG = 'http://www.w3.org/2000/svg';
  const ROWS = 40, TABLE = 50, BARS = 20;
  const PHASES = [['link_up', 'link'], ['solicited', 'solicit'], ['advertised', 'advertise'], ['care_of', 'configure'], ['updated', 'update'], ['acknowledged', 'acknowledge']];

  // put makes an element; text goes in as text, never as HTML.
  const put = (ns, name, attributes, ...children) => {
    const e = ns ? document.createElementNS(ns, name) : document.createElement(name);
    for (const [k, v] of Object.entries(attributes || {})) if (v !== undefined) e.setAttribute(k, v);
    e.append(...children);
    return e;
  };
  const el = (name, a, ...c) => put('', name, a, ...c);
  const svg = (name, a, ...c) => put(SVG, name, a, ...c);

  const ms = v => v === 0 ? '0' : v >= 10000 ? (v / 1000).toFixed(0) + ' s' : v >= 1000 ? (v / 1000).toFixed(1) + ' s' : (v >= 100 ? v.toFixed(0) : v >= 1 ? v.toFixed(1) : v.toFixed(2)) + ' ms';
  const span = s => {
    s = Math.max(0, Math.floor(s));
    const two = (a, u, b, w) => a + ' ' + u + (b ? ' ' + b + ' ' + w : '');
    return s < 60 ? s + ' s' : s < 3600 ? two(Math.floor(s / 60), 'min', s % 60, 's')
      : s < 86400 ? two(Math.floor(s / 3600), 'h', Math.floor(s % 3600 / 60), 'min') : two(Math.floor(s / 86400), 'd', Math.floor(s % 86400 / 3600), 'h');
  };
  const count = (n, one, many) => n.toLocaleString('en') + ' ' + (n === 1 ? one : many || one + 's');
  const quantile = (sorted, q) => sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
  // hue is the same for the same network, the first half of an address.
  const hue = address => {
    const [head, tail] = address.split('::'), words = head.split(':');
    if (tail !== undefined) while (words.length < 8 - (tail ? tail.split(':').length : 0)) words.push('0');
    let h = 0;
    for (const c of words.slice(0, 4).join(':')) h = (h * 31 + c.charCodeAt(0)) >>> 0;
    return 'c' + h % 6;
  };

  // replace swaps the children of an element, and keeps the focus by what has it.
  const replace = (parent, ...children) => {
    const held = parent.contains(document.activeElement) && document.activeElement.dataset.key;
    parent.replaceChildren(...children);
    const again = held && parent.querySelector('[data-key="' + CSS.escape(held) + '"]');
    if (!again) return;
    rove(parent, again);
    again.focus({ preventScroll: true });
  };
  const figures = (list, pairs) => replace(list, ...pairs.map(([k, v]) => el('div', {}, el('dt', {}, k), el('dd', {}, String(v)))));
  const cells = (tr, names, values) => {
    tr.setAttribute('role', 'row');
    values.forEach((v, i) => tr.append(el('td', { role: 'cell', 'data-is': names[i], class: /address|Prefixes|Router/.test(names[i]) ? 'a' : '' }, el('span', {}, ...[].concat(v)))));
    return tr;
  };
  const lines = list => list.flatMap((x, i) => i ? [el('br'), x] : [x]);

  // Of the marks of a figure one can be reached by Tab, the others by the arrow keys.
  const rove = (figure, mark) => {
    for (const m of figure.querySelectorAll('[data-key]')) m.setAttribute('tabindex', m === mark ? 0 : -1);
  };
  const readable = (figure, out) => {
    const idle = figure.dataset.idle = 'Point at a mark, or go to it with Tab and the arrow keys, to read it here.';
    const tell = e => { const m = e.target.closest && e.target.closest('[data-key]'); if (m) out.textContent = m.getAttribute('aria-label'); };
    out.textContent = idle;
    figure.addEventListener('mouseover', tell);
    figure.addEventListener('focusin', tell);
    figure.addEventListener('keydown', e => {
      const marks = [...figure.querySelectorAll('[data-key]')], at = marks.indexOf(document.activeElement);
      const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: marks.length - 1 }[e.key];
      if (at < 0 || to === undefined || !marks[to]) return;
      e.preventDefault();
      rove(figure, marks[to]);
      marks[to].focus();
    });
  };

  // ticks are round numbers of a scale, at most so many.
  const ticks = (least, end, log, most) => {
    const round = t => { const p = Math.pow(10, Math.floor(Math.log10(t))); return p * [1, 2, 5, 10].find(f => f * p >= t * .999); };
    const list = [];
    if (!log) for (let step = round(end / most), t = 0; t <= end; t += step) list.push(t);
    else for (let t = round(least); t <= end; t = round(t * 1.5)) list.push(t);
    for (; list.length > most && list.length > 2;) list.splice(0, list.length, ...list.filter((_, i) => i % 2 === 0));
    return list;
  };

  // distribution draws which share of values, in milliseconds, is not above what.
  const distribution = (into, values, what) => {
    if (!values.length) return replace(into, el('p', { class: 'soft' }, 'There is none yet.'));
    const v = values.slice().sort((a, b) => a - b), mid = quantile(v, .5), high = quantile(v, .99), most = v[v.length - 1];
    const w = Math.max(240, into.clientWidth), h = 170, left = 40, bottom = 24, top = 8, right = 16;
    const log = most > 8 * mid && v[0] > 0, least = log ? v[0] : 0, end = most * 1.05 || 1;
    const x = t => left + (w - left - right) * (log ? Math.log(t / least) / Math.log(end / least) : t / end);
    const y = q => h - bottom - (h - bottom - top) * q;
    const g = svg('svg', { width: w, height: h, role: 'img', 'aria-label': what + ': median ' + ms(mid) + ', 99 % ' + ms(high) + ', most ' + ms(most) + ', of ' + v.length });
    for (const q of [0, .5, 1]) g.append(svg('path', { class: 'axis', d: 'M' + left + ' ' + y(q) + 'H' + (w - right) }), svg('text', { x: left - 6, y: y(q) + 4, 'text-anchor': 'end' }, q * 100 + ' %'));
    for (const t of ticks(least, end, log, w / 90)) g.append(svg('text', { x: x(t), y: h - 6, 'text-anchor': 'middle' }, ms(t)));
    let d = 'M' + x(v[0]).toFixed(1) + ' ' + y(0);
    v.forEach((t, i) => { d += 'H' + x(t).toFixed(1) + 'V' + y((i + 1) / v.length).toFixed(1); });
    g.append(svg('path', { class: 'curve', d }));
    replace(into, el('p', { class: 'soft' }, 'Median ' + ms(mid) + ', 99 % ' + ms(high) + ', most ' + ms(most) + '; of ' + v.length + (log ? '. The scale is logarithmic.' : '.')), g);
  };

  const words = c => (c.from ? c.to ? 'moved from ' + c.from + ' to ' + c.to : 'left ' + c.from + (c.cause === 'update' ? ' and de-registered' : c.cause === 'lifetime' ? ': its lifetime ended' : ': the configuration changed') : 'registered ' + c.to) +
    ', ' + span(c.age_ms / 1000) + ' ago' + (c.processing_ms === undefined ? '' : ', processed in ' + ms(c.processing_ms));

  const moves = (a, seconds) => {
    const rows = new Map();
    for (const c of a.changes) { // the newest first
      if (!rows.has(c.home_address)) rows.set(c.home_address, []);
      rows.get(c.home_address).push(c);
    }
    const at = c => 100 * (1 - c.age_ms / 1000 / seconds);
    const out = [];
    for (const [home, list] of [...rows].slice(0, ROWS)) {
      const g = svg('svg', { role: 'group', 'aria-label': list[0].mobile + ', ' + count(list.length, 'change'), height: 26 }, svg('rect', { class: 'back', x: 0, y: 9, width: '100%', height: 8, rx: 4 }));
      let end = 100;
      for (const c of list) {
        if (c.to) g.append(svg('rect', { class: 'stay ' + hue(c.to), x: at(c) + '%', y: 9, width: Math.max(0, end - at(c)) + '%', height: 8 }));
        end = at(c);
      }
      const first = list[list.length - 1];
      if (first.from) g.append(svg('rect', { class: 'stay ' + hue(first.from), x: 0, y: 9, width: Math.max(0, end) + '%', height: 8 }));
      for (const c of list.slice().reverse()) {
        const text = c.mobile + ' ' + words(c);
        g.append(svg('circle', { class: 'mark ' + (c.to ? hue(c.to) : 'end'), cx: at(c) + '%', cy: 13, r: 5.5, role: 'img', tabindex: -1, 'data-key': c.number, 'aria-label': text }));
      }
      out.push(el('div', { class: 'row' }, el('span', { title: home }, list[0].mobile), g));
    }
    if (out.length) {
      const ticks = svg('svg', { class: 'ticks', 'aria-hidden': 'true', height: 16 });
      for (const [x, anchor] of [[0, 'start'], [50, 'middle'], [100, 'end']]) ticks.append(svg('text', { x: x + '%', y: 12, 'text-anchor': anchor }, x === 100 ? 'now' : span(seconds * (1 - x / 100)) + ' ago'));
      out.push(el('div', { class: 'row', 'aria-hidden': 'true' }, el('span'), ticks));
    }
    replace($('moves'), ...out);
    const reachable = $('moves').querySelector('[tabindex="0"]') || $('moves').querySelector('[data-key]');
    if (reachable) reachable.setAttribute('tabindex', 0);
    $('moves-read').hidden = !out.length;
    $('moves-count').textContent = (a.changed ? count(a.changed, 'change') + ' in this time. A dot is a registration or move, a ring the end of a binding; the line has the colour of the network.' : 'Nothing has moved in this time.') +
      (a.changed > a.changes.length ? ' The newest ' + a.changes.length + ' are shown.' : '') + (rows.size > ROWS ? ' Of the mobiles those ' + ROWS + ' that moved last; search for others.' : '') +
      (a.forgotten ? ' Older ones are not remembered.' : '');
    replace($('moves-table'), ...a.changes.slice(0, TABLE).map(c => el('tr', {}, el('td', {}, span(c.age_ms / 1000) + ' ago'), el('th', { scope: 'row' }, c.mobile), el('td', { class: 'a' }, c.from || '–'), el('td', { class: 'a' }, c.to || '–'), el('td', {}, c.cause), el('td', { class: 'n' }, c.processing_ms === undefined ? '–' : ms(c.processing_ms)))));
    distribution($('took'), a.changes.map(c => c.processing_ms).filter(t => t !== undefined), 'Processing of moves');
  };

  const agent = (o, seconds) => {
    const a = o.home_agents, s = a.stats;
    figures($('agent-figures'), [['mobiles', s.mobiles.toLocaleString('en')], ['registered', s.bindings.toLocaleString('en')], ['moves since start', s.moves.toLocaleString('en')], ['expired', s.expirations.toLocaleString('en')], ['up for', span(o.uptime_seconds)]]);
    moves(a, seconds);
    $('mobiles-count').textContent = a.matched > a.mobiles.length ? 'The first ' + a.mobiles.length + ' of ' + count(a.matched, 'mobile') + '; search for others.' : $('search').value.trim() ? count(a.matched, 'mobile matches', 'mobiles match') + '.' : '';
    $('mobiles-count').hidden = !$('mobiles-count').textContent;
    const names = ['Mobile', 'Home address', 'Care-of address', 'Prefixes', 'Since', 'Lifetime left', 'Sequence'];
    replace($('mobiles'), ...a.mobiles.flatMap(m => (m.bindings.length ? m.bindings : [null]).map(b => {
      const tr = el('tr', b && b.state === 'active' ? {} : { class: 'off' });
      if (!b) return cells(tr, names, [m.mobile, m.home_address, 'not registered', '–', '–', '–', '–']);
      const c = b.care_of.map(x => x.address + (x.bid ? ' (BID ' + x.bid + ')' : '') + (x.port ? ' port ' + x.port : ''));
      return cells(tr, names, [m.mobile + (b.router ? ' (router)' : ''), b.home_address, b.state === 'active' ? lines(c) : b.state, b.prefixes.length ? lines(b.prefixes) : '–', span(b.age_ms / 1000), b.state === 'active' ? span(b.remaining_seconds) : '–', b.sequence]);
    })));
  };

  const place = a => !a ? 'nowhere' : a.at_home ? 'home' : a.link;
  const handovers = list => {
    const shown = list.slice(0, BARS), totals = list.map(h => h.total_ms).filter(t => t !== null);
    const most = Math.max(1, Math.min(Math.max(...totals), 2.5 * (quantile(totals.slice().sort((a, b) => a - b), .5) || 1)));
    $('handovers-count').textContent = list.length ? 'The last ' + shown.length + ', the newest first' + (totals.some(t => t > most) ? '; a bar with an arrow is longer than there is room for.' : '.') : 'There was none yet.';
    replace($('phases'), ...(list.length ? PHASES.map((p, i) => el('li', {}, el('i', { class: 'c' + i }), p[1])) : []));
    replace($('handovers'), ...shown.map(h => {
      let last = 0;
      const g = svg('svg', { height: 22, 'aria-hidden': 'true' }, svg('rect', { class: 'back', x: 0, y: 4, width: '100%', height: 14, rx: 3 })), parts = [];
      PHASES.forEach(([key, name], i) => {
        const t = h.phases_ms[key];
        if (t === null || t <= last) return;
        parts.push(name + ' ' + ms(t - last));
        if (last < most) g.append(svg('rect', { class: 'c' + i, x: 100 * last / most + '%', y: 4, width: 100 * (Math.min(t, most) - last) / most + '%', height: 14 }));
        last = t;
      });
      if (last > most) g.append(svg('text', { x: '99%', y: 15, 'text-anchor': 'end', class: 'over' }, '→'));
      const total = h.total_ms === null ? 'not acknowledged' : ms(h.total_ms);
      const key = h.home_address + h.start;
      return el('div', { class: 'row bar', role: 'img', tabindex: -1, 'data-key': key, 'aria-label': place(h.from) + ' to ' + place(h.to) + (h.to && h.to.care_of ? ', ' + h.to.care_of : '') + ', ' + span(h.age_ms / 1000) + ' ago, by ' + h.trigger + ': ' + total + ' (' + parts.join(', ') + '), ' + count(h.updates, 'binding update') },
        el('span', {}, place(h.from) + ' → ' + place(h.to) + ' · ' + total), g);
    }));
    const reachable = $('handovers').querySelector('[tabindex="0"]') || $('handovers').querySelector('[data-key]');
    if (reachable) reachable.setAttribute('tabindex', 0);
    $('handovers-read').hidden = !list.length;
    distribution($('total'), totals, 'Time of a handover');
  };

  const mobile = o => {
    const m = o.mobile;
    replace($('updates'), ...m.updates.map(u => {
      const list = el('dl', { class: 'figures', 'aria-label': u.mobile });
      figures(list, [[u.mobile, u.attachment ? u.lost ? 'lost' : place(u.attachment) : 'nowhere'], ['registration', u.registered ? 'registered' : u.halted ? 'refused' : u.attachment && u.attachment.at_home ? 'at home' : 'not registered'],
        ['care-of address', u.care_of || '–'], ['home address', u.home_address], ['lifetime left', u.registered ? span(u.remaining_seconds) : '–'], ['up for', span(o.uptime_seconds)]]);
      return list;
    }));
    const names = ['Uplink', 'Carrier', 'State', 'Care-of address', 'Router'];
    replace($('uplinks'), ...m.uplinks.map(u => cells(el('tr', u.in_use ? {} : { class: 'off' }), names, [u.preference + ' ' + u.name + (m.updates.length > 1 ? ' of ' + u.mobile : ''), u.missing ? '–' : u.up ? 'up' : 'down',
      u.missing ? 'missing' : !u.up ? '–' : u.in_use ? 'in use' : u.pending ? 'registering' : u.avoided_for_ms > 0 ? 'avoided for ' + span(u.avoided_for_ms / 1000) : u.steady_in_ms > 0 ? 'steady in ' + ms(u.steady_in_ms) : 'ready',
      u.care_of_addresses.length ? lines(u.care_of_addresses.map(c => c.address + ' (' + [c.origin].concat(['optimistic', 'standby', 'retired'].filter(k => c[k])).join(', ') + ')')) : '–',
      u.routers.length ? lines(u.routers.map(r => r.address)) : '–'])));
    handovers(m.handovers);
  };

  // What is told: whether there are answers, and since when not.
  let answered = 0, uptime = 0, lost = false, timer = 0, asking = null;
  const say = text => { $('said').textContent = text; };
  const tick = () => {
    if (!answered && !lost) return;
    document.body.className = lost ? 'lost' : 'live';
    const ago = (Date.now() - answered) / 1000;
    $('since').textContent = lost ? answered ? 'no answer since ' + new Date(answered).toLocaleTimeString('en-GB') + ' (' + span(ago) + ')' : 'no answer yet' : 'live, ' + (ago < 3 ? 'now' : span(ago) + ' ago');
  };
  const show = (o, seconds) => {
    $('who').textContent = [o.home_agents && 'home agent', o.mobile && 'mobile', o.version].filter(Boolean).join(' · ');
    $('agent').hidden = !o.home_agents;
    $('mobile').hidden = !o.mobile;
    $('neither').hidden = !!(o.home_agents || o.mobile);
    if (o.home_agents) agent(o, seconds);
    if (o.mobile) mobile(o);
    if (lost) say('The daemon answers again.');
    else if (o.uptime_seconds < uptime) say('The daemon was started again.');
    uptime = o.uptime_seconds;
  };
  const ask = async () => {
    clearTimeout(timer);
    if (asking) asking.abort();
    const mine = asking = new AbortController(), seconds = +$('window').value;
    const limit = setTimeout(() => mine.abort(), 10000);
    let pause = 2000;
    try {
      const r = await fetch('status.json?seconds=' + seconds + '&search=' + encodeURIComponent($('search').value.trim()), { signal: mine.signal, cache: 'no-store' });
      if (!r.ok) throw new Error(r.status);
      const o = await r.json();
      if (mine !== asking) return;
      show(o, seconds);
      answered = Date.now();
      lost = false;
      if (o.home_agents && o.home_agents.stats.mobiles > 10000) pause = 5000;
    } catch (e) {
      if (mine !== asking) return;
      if (!lost) say('The daemon does not answer.');
      lost = true;
    } finally {
      clearTimeout(limit);
    }
    tick();
    if (!document.hidden) timer = setTimeout(ask, pause);
  };

  readable($('moves'), $('moves-read'));
  readable($('handovers'), $('handovers-read'));
  $('ask').addEventListener('submit', e => { e.preventDefault(); ask(); });
  let typed = 0;
  $('search').addEventListener('input', () => { clearTimeout(typed); typed = setTimeout(ask, 250); });
  $('window').addEventListener('change', ask);
  document.addEventListener('visibilitychange', () => { if (!document.hidden) ask(); });
  setInterval(tick, 1000);
  ask();
})();
