"""The page is whole, alone, and works in a real browser; see `report_runs`."""

import base64
import csv
import html.parser
import io
import pathlib
import re
import shutil

import PIL.Image
import pytest
import report_runs as runs

from advspeech import report

# A minute with its browser; test_report.py has the parts of a page.
pytestmark = pytest.mark.slow

HOSTILE = '<script>alert(1)</script> "q\' $x_{$ \u202eevil\u202c ' + 300 * 'n'


class Page(html.parser.HTMLParser):
  """Collects a page's tags, attributes and text."""

  def __init__(self, path):
    super().__init__()
    self.tags, self.text = [], ''
    with open(path, encoding='utf-8') as file:
      self.source = file.read()
    self.feed(self.source)

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))

  def handle_data(self, data):
    self.text += data

  def all(self, tag):
    return [attributes for found, attributes in self.tags if found == tag]


@pytest.fixture(scope='module')
def plain_folder(tmp_path_factory):
  """A run with nothing but an attack."""
  folder = tmp_path_factory.mktemp('plain') / 'a'
  runs.write(folder)
  report.write(str(folder))
  return folder


@pytest.fixture(scope='module')
def plain(plain_folder):
  return Page(plain_folder / 'report' / 'index.html')


@pytest.fixture(scope='module')
def full_folder(tmp_path_factory):
  """A run with everything, of a corpus that means no good."""
  folder = tmp_path_factory.mktemp('full') / 'a'
  runs.write(folder, classes=(HOSTILE, 'b'), ids=(HOSTILE, 'clip-b'))
  runs.write_everything_else(folder, classes=(HOSTILE, 'b'))
  report.write(str(folder))
  return folder


@pytest.fixture(scope='module')
def full(full_folder):
  return Page(full_folder / 'report' / 'index.html')


def test_every_stage_that_was_not_run_is_named_with_how_to_run_it(plain):
  for words in (
    'python -m launch.study gradients',
    'python -m launch.study features',
    'python -m launch.study rounding',
    'python -m launch.study verification',
    'python -m launch.study privacy',
    'python -m launch.study smoothing',
    'python -m launch.study substitute',
    'python -m launch.study queries',
    'config.sweep.transforms',
    'config.sweep.masks',
    'config.sweep.num_quality_clips',
    'dates, versions and commit not recorded',
    'Counts by class, speakers and minutes were not recorded',
  ):
    assert words in plain.text, words


def test_what_was_run_is_shown_and_nothing_is_said_to_be_missing(full):
  assert 'was not run' not in full.text
  assert 'espeak: 1060 clips' in full.text
  assert 'all: 100 clips tell a rate to 10 points' in full.text
  assert 'spectrogram, original phase' in full.text
  assert (
    'Of the 100 test clips have in training too: their speaker 100 (100.0 %); '
    'another take of the same 25 (25.0 %). '
  ) in full.text
  assert full.text.count('+25.0 [10.0, 10.0]') == 2 * 2
  assert full.text.count('Adversarial, 17.0 dB SNR, heard as') == 2
  # In the dark theme what is louder is not darker.
  assert 'the further from the background, the louder' in full.text
  assert 'darker' not in full.text
  alts = [image['alt'] for image in full.all('img')]
  # Figure 6 and by class, twice 7, transfer, gradients, features,
  # rounding, verification, privacy, smoothing, air, substitute, queries.
  assert len(alts) == 1 + 1 + 2 + 1 + 7 + 3 + 1 + 2 + 2 + 1 + 2 + 1 + 2
  assert all(len(alt) > 40 for alt in alts)


def test_sentences_of_a_paragraph_stand_apart(full):
  for paragraph in re.findall(r'<p[ >].*?</p>', full.source, flags=re.DOTALL):
    text = re.sub(r'<[^>]+>', '', paragraph)
    assert not re.search(r'[a-z)]\.[A-Z][a-z]', text), text


def test_every_figure_lies_beside_the_page_as_png_and_svg(full, full_folder):
  links = [a['href'] for a in full.all('a') if not a['href'].startswith('#')]
  assert len(links) == 2 * len(full.all('img'))
  for link in links:
    assert (full_folder / 'report' / link).stat().st_size > 1000, link


def test_a_page_with_everything_is_light_but_for_its_sounds(full):
  sounds = sum(len(attributes['src']) for attributes in full.all('audio'))
  assert len(full.source) - sounds < 2_000_000


def test_figures_on_the_page_have_the_pixels_of_their_files(full, full_folder):
  links = [a['href'] for a in full.all('a') if a['href'].endswith('.png')]
  for image, link in list(zip(full.all('img'), links, strict=True))[:3]:
    kind, data = image['src'].split(',')
    assert kind == 'data:image/webp;base64'
    with (
      PIL.Image.open(io.BytesIO(base64.b64decode(data))) as shown,
      PIL.Image.open(full_folder / 'report' / link) as png,
    ):
      assert shown.convert('RGB').tobytes() == png.convert('RGB').tobytes()


def test_a_page_needs_no_network_and_runs_its_own_script_alone(plain):
  for _, attributes in plain.tags:
    for key in ('src', 'href'):
      value = attributes.get(key) or ''
      assert not value.startswith(('http:', 'https:', '//')), value
  assert len(plain.all('script')) == 1
  policy = plain.all('meta')[2]['content']
  assert policy.startswith("default-src 'none'; img-src data:")
  assert 'sha256-' in policy


def test_a_page_is_drawn_again_from_a_copied_folder_with_the_same_bytes(
  plain_folder, tmp_path
):
  copied = tmp_path / 'elsewhere'
  shutil.copytree(
    plain_folder, copied, ignore=shutil.ignore_patterns('report', 'checkpoints')
  )
  page = report.write(str(copied))
  before = (plain_folder / 'report' / 'index.html').read_bytes()
  assert pathlib.Path(page).read_bytes() == before


def test_hostile_names_are_text(full):
  assert len(full.all('script')) == 1
  assert full.text.count(HOSTILE) >= 4
  handlers = [a for _, attrs in full.tags for a in attrs if a.startswith('on')]
  assert not handlers


def test_a_recorded_run_tells_commit_date_and_device(full):
  assert (
    'trained 2026-01-02 03:04 to 2026-01-02 04:04 UTC, on 8 '
    '\N{MULTIPLICATION SIGN} TPU v9, commit cccccccccccc (changed)'
  ) in ' '.join(full.text.split())


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
  """A headless Chromium that may fetch nothing."""
  webdriver = pytest.importorskip('selenium.webdriver')
  from selenium.webdriver.chrome import service

  binary = shutil.which('chromium') or shutil.which('google-chrome')
  driver = shutil.which('chromedriver')
  if not (binary and driver):
    pytest.skip('chromium and chromedriver are not both here')
  options = webdriver.ChromeOptions()
  options.binary_location = binary
  for argument in (
    *('headless=new', 'no-sandbox', 'disable-gpu', 'disable-quic'),
    *('no-first-run', 'disable-background-networking', 'disable-sync'),
    *('disable-component-update', 'disable-dev-shm-usage'),
    f'user-data-dir={tmp_path_factory.mktemp("chromium")}',
  ):
    options.add_argument(f'--{argument}')
  options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
  started = webdriver.Chrome(options=options, service=service.Service(driver))
  yield started
  started.quit()


@pytest.fixture
def opened(browser, full_folder):
  """Returns a function that opens the full page at a width and in a theme."""

  def open_page(width, scheme='light'):
    browser.execute_cdp_cmd(
      'Emulation.setEmulatedMedia',
      {'features': [{'name': 'prefers-color-scheme', 'value': scheme}]},
    )
    browser.execute_cdp_cmd(
      'Emulation.setDeviceMetricsOverride',
      {
        'width': width,
        'height': 900,
        'deviceScaleFactor': 1,
        'mobile': width < 500,
      },
    )
    browser.get((full_folder / 'report' / 'index.html').as_uri())
    return browser

  return open_page


def test_every_image_and_sound_loads_and_the_console_is_silent(opened):
  page = opened(1280)
  images = page.execute_script(
    'return [...document.images].map((i) => [i.complete, i.naturalWidth])'
  )
  assert len(images) == 26
  assert all(complete and width > 100 for complete, width in images)
  durations = page.execute_async_script("""
    const done = arguments[0];
    const sounds = [...document.querySelectorAll('audio')];
    Promise.all(sounds.map((sound) => new Promise((resolve) => {
      if (sound.readyState) resolve(sound.duration);
      sound.onloadedmetadata = () => resolve(sound.duration);
      sound.onerror = () => resolve(-1);
    }))).then(done);
  """)
  # Of two clips original, adversarial, difference; three of the features.
  assert durations == pytest.approx(2 * [0.75, 1, 1] + [1, 1, 1])
  assert (
    page.execute_script(
      "return performance.getEntriesByType('resource')"
      ".filter((e) => !e.name.startsWith('data:')).length"
    )
    == 0
  )
  assert page.get_log('browser') == []


@pytest.mark.parametrize('width', [360, 800, 1600])
def test_nothing_is_wider_than_the_window(opened, width):
  page = opened(width)
  wide = page.execute_script(
    'return document.documentElement.scrollWidth - '
    'document.documentElement.clientWidth'
  )
  assert wide == 0


def test_what_goes_on_to_the_right_fades_until_its_end_is_reached(opened):
  page = opened(360)
  table = 'document.querySelector("#points ~ .table .scroll")'
  unfold(page)
  assert page.execute_script(f'return {table}.className') == (
    'scroll tall goes-on'
  )
  page.execute_script(f'{table}.scrollLeft = 1e6')
  page.execute_async_script(
    'requestAnimationFrame(() => setTimeout(arguments[0], 50))'
  )
  assert 'goes-on' not in page.execute_script(f'return {table}.className')
  page = opened(1600)
  narrow = page.execute_script(
    'return [...document.querySelectorAll(".scroll, .pan")]'
    '.filter((e) => e.scrollWidth <= e.clientWidth'
    ' && e.classList.contains("goes-on")).length'
  )
  assert narrow == 0


def unfold(page):
  """Opens all tables that are folded, and waits until they are laid out."""
  page.execute_script(
    'for (const e of document.querySelectorAll("details.rows")) e.open = true'
  )
  page.execute_async_script(
    'requestAnimationFrame(() => setTimeout(arguments[0], 50))'
  )


def test_long_tables_are_folded_and_say_how_long_they_are(opened):
  page = opened(1280)
  folded = page.execute_script(
    'return [...document.querySelectorAll("details.rows")].map((e) => [e.open,'
    ' e.querySelector("summary").textContent, e.querySelectorAll("tr").length])'
  )
  assert {is_open for is_open, _, _ in folded} == {True, False}
  for is_open, words, rows in folded:
    assert words == f'{rows - 1} rows'
    assert is_open == (rows <= 13)
  page.execute_script('dispatchEvent(new Event("beforeprint"))')
  assert not page.find_elements('css selector', 'details.rows:not([open])')


def column(page, number):
  return page.execute_script(
    'return [...document.querySelector("#points ~ .table tbody").rows]'
    f'.map((row) => row.cells[{number}].textContent)'
  )


def test_tables_sort_by_number_and_by_word_both_ways(opened):
  page = opened(1280)
  button = 'document.querySelectorAll("#points ~ .table th button")[{}]'
  before = column(page, 8)
  page.execute_script(button.format(8) + '.click()')
  first = [float(text.split()[0]) for text in column(page, 8)]
  assert first == sorted(first)
  assert before != column(page, 8)
  page.execute_script(button.format(8) + '.click()')
  assert [float(x.split()[0]) for x in column(page, 8)] == first[::-1]
  page.execute_script(button.format(1) + '.click()')
  words = column(page, 1)
  assert words == sorted(words)
  assert words[0] == 'FGSM'
  assert page.execute_script(
    'return [...document.querySelectorAll("#points ~ .table th")]'
    '.map((th) => th.ariaSort)'
  ) == [None, 'ascending', *15 * [None]]


def test_a_table_is_copied_as_csv(opened):
  page = opened(1280)
  text = page.execute_script(
    'return csv(document.querySelector("#short ~ .table table"))'
  )
  rows = list(csv.reader(io.StringIO(text)))
  assert rows[0][:4] == ['model', 'seed', 'clean', 'attacked']
  assert rows[1][:3] == ['WaveCNN', '0', '2.0 [0.6, 7.0]']
  assert {len(row) for row in rows} == {10}


def test_a_table_is_downloaded_under_its_name(opened):
  page = opened(1280)
  name, text = page.execute_async_script("""
    const done = arguments[0];
    let made;
    URL.createObjectURL = (blob) => { made = blob; return '#'; };
    URL.revokeObjectURL = () => {};
    addEventListener('click', (event) => {
      if (event.target.download) {
        event.preventDefault();
        made.text().then((text) => done([event.target.download, text]));
      }
    }, true);
    // A link that is not on the page bubbles nowhere.
    HTMLAnchorElement.prototype.click = function () {
      document.body.append(this);
      this.dispatchEvent(new MouseEvent('click', { bubbles: true,
        cancelable: true }));
    };
    document.querySelectorAll('#short ~ .table .bar button')[1].click();
  """)
  assert re.fullmatch(r'error-in-with-95-intervals[a-z0-9-]*\.csv', name)
  assert text.startswith('model,seed,clean,attacked')


def test_a_copied_cell_is_no_formula(opened):
  page = opened(1280)
  cells = ('=1+1', '-x', '@a', '-1.5 [-2.0, 0.5]', '-3', "'b", 'c')
  text = page.execute_script(
    """
    const table = document.createElement('table');
    for (const word of arguments) table.insertRow().insertCell().append(word);
    return csv(table);
    """,
    *cells,
  )
  assert [row[0] for row in csv.reader(io.StringIO(text))] == [
    "'=1+1",
    "'-x",
    "'@a",
    '-1.5 [-2.0, 0.5]',
    '-3',
    "''b",
    'c',
  ]


def test_where_nothing_may_be_copied_the_csv_is_shown_to_be_copied(opened):
  page = opened(1280)
  shown = page.execute_async_script("""
    const done = arguments[0];
    navigator.clipboard.writeText = () => Promise.reject(new Error('denied'));
    document.querySelector('.bar button').click();
    setTimeout(() => done(document.querySelector('dialog textarea').value), 50);
  """)
  assert shown.startswith('model,seed,clean,attacked')


def test_a_figure_opens_large_by_keyboard_and_closes_with_escape(opened):
  from selenium.webdriver.common import keys

  page = opened(800)
  button = page.find_element('css selector', '.plot button')
  button.send_keys(keys.Keys.ENTER)
  large = page.execute_script(
    'const i = document.querySelector("dialog[open] img");'
    'return [i.width, i.naturalWidth, i.alt.length]'
  )
  small = button.find_element('css selector', 'img').size['width']
  assert large[0] > small
  assert large[2] > 40
  page.switch_to.active_element.send_keys(keys.Keys.ESCAPE)
  assert page.find_elements('css selector', 'dialog[open]') == []


@pytest.mark.parametrize(
  ('width', 'scheme'),
  [
    (360, 'dark'),
    (360, 'light'),
    (1600, 'dark'),
    (1600, 'light'),
  ],
)
def test_the_rules_of_accessibility_are_met(opened, width, scheme):
  axe = pytest.importorskip('axe_selenium_python')
  page = opened(width, scheme)
  unfold(page)
  rules = axe.Axe(page)
  rules.inject()
  found = rules.run()
  assert len(found['passes']) > 30
  assert found['violations'] == [], rules.report(found['violations'])


def test_players_and_tables_are_reached_by_keyboard_and_have_names(opened):
  page = opened(1280)
  unfold(page)
  unnamed = page.execute_script("""
    const reached = [...document.querySelectorAll('audio, .scroll')];
    return reached.filter((e) => {
      e.focus();
      return document.activeElement !== e || e.tabIndex < 0 || !e.ariaLabel ||
        (e.tagName === 'AUDIO' && !e.controls);
    }).length;
  """)
  assert unnamed == 0


def luminance(color):
  channels = [int(x) / 255 for x in re.findall(r'\d+', color)[:3]]
  linear = [
    c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
    for c in channels
  ]
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_all_text_has_contrast_in_both_themes(opened, scheme):
  page = opened(1280, scheme)
  background, *colors = page.execute_script("""
    const color = (e) => getComputedStyle(e).color;
    const text = [...document.querySelectorAll('p, td, th, a, .verdict, dt')];
    return [getComputedStyle(document.body).backgroundColor,
            ...new Set(text.map(color))];
  """)
  ground = luminance(background)
  assert (ground < 0.02) == (scheme == 'dark')
  for color in colors:
    low, high = sorted([ground, luminance(color)])
    assert (high + 0.05) / (low + 0.05) >= 4.5, color


def test_hostile_names_run_nothing_and_are_seen(opened):
  page = opened(360)
  assert (
    page.execute_script(
      'return document.querySelectorAll("main script").length'
    )
    == 0
  )
  assert '<script>alert(1)</script>' in page.execute_script(
    'return document.querySelector(".clip h3").textContent'
  )
