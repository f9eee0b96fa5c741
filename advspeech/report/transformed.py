"""What each transform leaves of the attack."""

from advspeech.report import run as run_lib


def filters(run: run_lib.Run) -> list[run_lib.Row]:
  """Returns what each transform leaves of the attack, a row a judge.

  At the telling epsilon, of models of the source's seed: error without a
  transform, and with it, clean, attacked blindly, and by an attack that knows;
  with `taken`, the row of `transforms.csv` on the blind one, and `noise`, that
  of noise of its size behind the same transform, where it was judged.
  """
  mask = run.config['sweep']['masks'][0]

  def by_point(rows):
    return {
      (r['target'], r['seed'], r['transform'], r['adaptive'], r['epsilon']): r
      for r in rows
      if r['source'] == run.source
      and r['seed'] == r['target_seed']
      and (r['attack'], r['mask']) == (run.attack, mask)
    }

  points = by_point(
    r for r in run.rows if not r['control'] and r['error_rate'] != ''
  )
  noise = by_point(r for r in run.rows if r['control'] == run.control)
  taken = by_point(run.transforms)
  transforms = [t for t in dict.fromkeys(key[2] for key in points) if t]
  rows = []
  judges = dict.fromkeys((row['target'], row['seed']) for row in run.first)
  for name, seed in judges if transforms else ():
    for transform in ('', *transforms):

      def at(adaptive, epsilon, of=points, judge=(name, seed, transform)):
        return of.get((*judge, adaptive, epsilon))

      rows.append(
        {
          'target': name,
          'seed': seed,
          'transform': transform,
          'clean': at(0, 0),
          'blind': at(0, run.telling_epsilon),
          'noise': at(0, run.telling_epsilon, noise),
          'adaptive': at(1, run.telling_epsilon) if transform else None,
          'taken': at(0, run.telling_epsilon, taken),
        }
      )
  return rows
