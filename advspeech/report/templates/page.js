'use strict';

// Numbers sort as numbers: the first in a cell, before any interval.
function sortKey(cell) {
  const text = cell.textContent.trim();
  const number = parseFloat(text.replace(/^[^\d.+-]+(?=[\d.])/, ''));
  return Number.isNaN(number) || /^[^\d.+-]/.test(text) ? text : number;
}

function compare(a, b) {
  const numbers = [a, b].map((x) => typeof x === 'number');
  if (numbers[0] && numbers[1]) return a - b;
  if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
  return a.localeCompare(b);
}

function sortBy(table, column, header) {
  const up = header.getAttribute('aria-sort') !== 'ascending';
  for (const other of table.tHead.rows[0].cells) {
    other.removeAttribute('aria-sort');
  }
  header.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [sortKey(row.cells[column]), row]);
  rows.sort((a, b) => (up ? 1 : -1) * compare(a[0], b[0]));
  body.append(...rows.map((row) => row[1]));
}

function csv(table) {
  // No name may become a formula in a spreadsheet; "-1.2 [-3.0, 0.6]" is none.
  const harmless = (text) =>
    /^[=+@\-']/.test(text) && !/^[-+]?[\d.]+( \[[-\d., ]*\])?$/.test(text)
      ? `'${text}` : text;
  const quoted = (text) =>
    /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  return [...table.rows]
    .map((row) =>
      [...row.cells]
        .map((cell) => cell.textContent.trim().replace(/\s+/g, ' '))
        .map((text) => quoted(harmless(text)))
        .join(','))
    .join('\n') + '\n';
}

const dialog = document.querySelector('dialog');
const shown = dialog.querySelector('.shown');

function show(element) {
  shown.replaceChildren(element);
  dialog.showModal();
}

function copy(table, button) {
  const text = csv(table);
  const say = (word) => {
    button.textContent = word;
    setTimeout(() => { button.textContent = 'Copy as CSV'; }, 1500);
  };
  const byHand = () => {
    const area = document.createElement('textarea');
    area.value = text;
    area.setAttribute('aria-label', 'The table as CSV, to be copied');
    show(area);
    area.select();
  };
  if (!navigator.clipboard) return byHand();
  return navigator.clipboard.writeText(text).then(() => say('Copied'), byHand);
}

function download(table) {
  const link = document.createElement('a');
  const name = table.closest('.scroll').getAttribute('aria-label').toLowerCase();
  link.download = `${name.replace(/[^a-z0-9]+/g, '-').slice(0, 60)}.csv`;
  link.href = URL.createObjectURL(new Blob([csv(table)], { type: 'text/csv' }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

for (const table of document.querySelectorAll('table')) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...header.childNodes);
    button.title = 'Sort by this column';
    button.addEventListener('click', () => sortBy(table, column, header));
    header.append(button);
  });
  const actions = document.createElement('div');
  for (const [text, act] of [['Copy as CSV', copy], ['Download', download]]) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'small';
    button.textContent = text;
    button.addEventListener('click', () => act(table, button));
    actions.append(button);
  }
  table.closest('.table').querySelector('.bar').append(actions);
}

// Long tables open when they are asked for, and on paper.
const folded = document.querySelectorAll('details.rows');
for (const details of folded) {
  const number = details.querySelector('tbody').rows.length;
  details.querySelector('summary').textContent = `${number} rows`;
  details.open = number <= 12;
}
addEventListener('beforeprint', () => {
  for (const details of folded) details.open = true;
});

for (const button of document.querySelectorAll('.plot button')) {
  button.addEventListener('click', () => {
    const image = button.querySelector('img').cloneNode();
    image.removeAttribute('loading');
    show(image);
  });
}

// What is wider than its place shows that it goes on to the right.
for (const area of document.querySelectorAll('.scroll, .plot .pan')) {
  const mark = () => {
    const left = area.scrollWidth - area.clientWidth - area.scrollLeft;
    area.classList.toggle('goes-on', left > 1);
  };
  area.addEventListener('scroll', mark, { passive: true });
  new ResizeObserver(mark).observe(area);
  mark();
}

// One sound at a time.
document.addEventListener('play', (event) => {
  for (const other of document.querySelectorAll('audio')) {
    if (other !== event.target) other.pause();
  }
}, true);

// The contents would fill a phone's first screen.
if (innerWidth < 1248) document.querySelector('nav details').open = false;
