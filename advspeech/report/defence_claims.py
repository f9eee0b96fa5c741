"""What a defence is worth beside no defence and beside noise of its size."""

from collections.abc import Sequence

from advspeech import claim, figures, sweep
from advspeech.report import defences
from advspeech.report import run as run_lib
from advspeech.report import verdicts as verdicts_lib
from advspeech.report.verdicts import Point, Way
from advspeech.statistics import trainings

KNOWN = 'fgsm'
_STRONGEST = sweep.STRONGEST
_CLEAN = verdicts_lib.same(0.0)
_TEXT = 'Adversarial training can defend where the attack is known (Discussion)'
# An attack is called larger from so many times the radius trained for.
_LARGER = 1.9
_RULE = (
  'On the same clips every model errs less than without the defence, and less '
  'than trained on noise of the same size (upper end of the interval of the '
  'difference below zero, by speaker where there is one; over trainings where '
  'there are five or more, else seed by seed); refuted where it errs more.'
)


def of_member(
  members: Sequence[defences.Member], member: defences.Member
) -> list[claim.Claim]:
  """Returns what a defended run shows of the paper's claim.

  Against the attack that the paper means, against stronger ones of the same
  size, and against those that nobody trained for.

  Args:
    members: Runs on the same clips.
    member: The defended one.
  """
  known, stronger, unknown = _points(member)
  return [
    _claim(
      f'{_TEXT}: {figures.attack_title(KNOWN)} at the epsilon trained for, '
      f'{member.defence["epsilon"]}.',
      members,
      member,
      known,
    ),
    _claim(
      'It defends where the attack is stronger: whatever any attack of that '
      'size breaks.',
      members,
      member,
      stronger,
    ),
    _claim(
      'It defends where the attack is not known: in another norm, made on a '
      'model of another run, or larger.',
      members,
      member,
      unknown,
    ),
  ]


def of_run(run: run_lib.Run) -> claim.Claim:
  """Returns what a run by itself shows of the paper's claim.

  Args:
    run: As read.
  """
  rule = (
    f'Under {figures.attack_title(KNOWN)} on a model itself, at the epsilon '
    'trained for, the error stays below halfway from the clean one to a blind '
    'guess, and under whatever any attack of that size breaks too (interval, '
    'by speaker where there is one; over trainings where there are five or '
    'more, else seed by seed); refuted where it does not. What a defence is '
    'worth beyond noise, a run trained on noise of its size beside it shows: '
    'launch.report --compare.'
  )

  def untested(words):
    return claim.Claim(f'{_TEXT}.', claim.NOT_TESTED, [words], rule)

  name = defences.defence_of(run)['name']
  if name == defences.UNDEFENDED:
    return untested('No model of this run was trained on adversarial examples.')
  if name in defences.NOISE:
    return untested(
      f'Models of this run were trained on {defences.defence_title(run)}, '
      'beside which a defence of that size is to be judged.'
    )
  verdicts = verdicts_lib.of_run(run)
  if verdicts is None:
    return untested('Its attack/verdicts.csv is not there.')
  verdicts = verdicts_lib.with_strongest(verdicts, verdicts.norms)
  member = defences.Member(defences.defence_title(run), run, verdicts)
  known, stronger, unknown = _points(member)
  if not known:
    return untested(_not_attacked(member))
  answers, words = [], []
  for point in (*known, *stronger):
    for found in _halfway(member, point):
      answers.append(found[0])
      words.append(f'{_words_of(member, point)}{found[1]}')
  for point in unknown:
    words += [
      f'{_words_of(member, point)}{x[1]}' for x in _halfway(member, point)
    ]
  return claim.Claim(f'{_TEXT}.', claim.verdict(answers), words, rule)


def _halfway(member, point):
  """Yields whether a rate stays below halfway to a guess, and in words."""
  verdicts, run = member.verdicts, member.run
  clean = verdicts.at(
    Point(point.target, Way(run.attack), _CLEAN), run.config['seeds']
  )
  wrong = verdicts.at(point, run.config['seeds'])
  if clean is None or wrong is None:
    return
  chance = 1 - 1 / len(run.classes)
  number = len(wrong)
  together = [slice(None)] if number >= trainings.FEWEST_TRAININGS else None
  for part in together or [slice(i, i + 1) for i in range(number)]:
    row = verdicts_lib.rate(wrong[part], verdicts.speakers, run.confidence)
    half = (clean[part].mean() + chance) / 2
    low, high = claim.widest(row, 'ci')
    seed = '' if together else f' (seed {run.config["seeds"][part.start]})'
    yield (
      True if high < half else False if low > half else None,
      f'{claim.percent(row["error_rate"])} [{100 * low:.1f}, {100 * high:.1f}]'
      f'{seed}, clean {claim.percent(clean[part].mean())}',
    )


def _words_of(member, point):
  size = member.verdicts.sizes[point.epsilon]
  return (
    f'{figures.title(point.target)}, {point.way.title} at epsilon {size.text}: '
  )


def _not_attacked(member):
  return (
    f'No such attack was made at epsilon {member.defence["epsilon"]}: see '
    'config.sweep.attacks, config.sweep.epsilons and '
    'config.sweep.iterative.epsilons.'
  )


def _points(member):
  """Returns points of the attack that is known, of stronger ones, of unknown.

  At the epsilon trained for, but for larger ones among the last.
  """
  size = verdicts_lib.same(member.defence['epsilon'])
  plain = [p for p in member.verdicts.wrong if not p.way.transform]
  of_size = [p for p in plain if p.epsilon == size]
  verdicts = member.verdicts
  several = {n for n in verdicts.joined if verdicts.norms[n] == 'linf'}
  larger = _larger(member, size)
  return (
    [p for p in of_size if p.way == Way(KNOWN)],
    [
      p
      for p in of_size
      if several - {KNOWN} and p.way == Way(_STRONGEST['linf'])
    ],
    [
      *(p for p in of_size if p.way == Way(_STRONGEST['l2'])),
      *(
        p for p in of_size if p.way.other and p.way.attack == _STRONGEST['linf']
      ),
      *(p for p in plain if (p.way, p.epsilon) == (Way(KNOWN), larger)),
    ],
  )


def _larger(member, size):
  """Returns the smallest epsilon tried that is about twice as large, if any."""
  sizes = member.verdicts.sizes
  if size not in sizes:
    return None
  above = [
    (found.epsilon, epsilon)
    for epsilon, found in sizes.items()
    if found.epsilon >= _LARGER * sizes[size].epsilon
  ]
  return min(above)[1] if above else None


def _claim(text, members, member, points: Sequence[Point]):
  """Returns a claim on some points, judged beside the other runs."""
  plain, noise = (
    defences.undefended(members),
    defences.baseline(members, member),
  )
  answers: list[bool | None] = []
  words = []
  for point in points:
    mine = defences.rate(member, point)
    if mine is None:
      continue
    sentence = _words_of(member, point) + claim.percent(mine['error_rate'])
    for other, name in ((plain, 'no defence'), (noise, 'noise')):
      rows = defences.pairs(member, other, point) if other else []
      answers += [_is_less(row) for row in rows]
      if not (rows or point.way.other):
        answers.append(None)  # a run that is not there leaves it open
      if rows:
        sentence += f'; beside {name} {", ".join(map(_words, rows))}'
    words.append(sentence)
  for other, name in (
    (plain, 'without a defence'),
    (noise, 'trained on noise of this size'),
  ):
    if other is None:
      words.append(f'No run {name} is here.')
  if plain is None and noise is None:
    answers = []
  if not points:
    words = [_not_attacked(member)]
  return claim.Claim(text, claim.verdict(answers), words, _RULE)


def _is_less(row):
  low, high = claim.widest(row, 'excess')
  if high < 0:
    return True
  return False if low > 0 else None


def _words(row):
  seed = '' if row['seed'] is None else f' (seed {row["seed"]})'
  return claim.points(row, 'excess') + seed
