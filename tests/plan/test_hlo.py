"""What is read in compiled programs, from pieces of real ones."""

from advspeech.plan import hlo

# Of WaveRNN's training step for v5e:2x2, JAX 0.12.0.1 and libtpu 0.0.50.1,
# shortened: a loop over ten frames, sums over devices, and a fused computation.
TPU = """\
HloModule jit__train_step, is_scheduled=true, num_partitions=4

%region_2.0 (psum.0: f32[], psum.1: f32[]) -> f32[] {
  %psum.1 = f32[]{:T(128)} parameter(1)
  %psum.0 = f32[]{:T(128)} parameter(0)
  ROOT %add.9 = f32[]{:T(128)} add(%psum.0, %psum.1)
}

%fused_computation.47.clone.1 (param_0.1: bf16[1,64]) -> bf16[64] {
  %param_0.1 = bf16[1,64]{1,0:T(2,128)(2,1)S(1)} parameter(0)
  ROOT %bitcast.7 = bf16[64]{0:T(256)(128)(2,1)S(1)} bitcast(%param_0.1)
}

%wide.region_51.53_spmd.clone.sunk (wide.param.0: (s32[], bf16[1,64])) -> \
(s32[], bf16[1,64]) {
  %wide.param.0 = (s32[]{:T(128)}, bf16[1,64]{1,0:T(2,128)(2,1)S(1)}) \
parameter(0)
  %get-tuple-element.1 = bf16[1,64]{1,0:T(2,128)(2,1)S(1)} \
get-tuple-element(%wide.param.0), index=1
  %fusion.288 = bf16[64]{0:T(256)(128)(2,1)S(1)} \
fusion(%get-tuple-element.1), kind=kLoop, \
calls=%fused_computation.47.clone.1, backend_config={"window_config":\
{"output_window_bounds":["1"],"estimated_cycles":"1825","is_mask":false}}
  %psum.900 = bf16[64]{0:T(256)(128)(2,1)S(1)} all-reduce(%fusion.288), \
channel_id=1, to_apply=%region_2.0
  ROOT %tuple.2 = (s32[]{:T(128)}, bf16[1,64]{1,0}) tuple(%fusion.288)
}

%wide.region_53.54_spmd.clone (wide.param.244: (s32[], bf16[1,64])) -> pred[] {
  %constant.295.clone.2 = s32[]{:T(128)} constant(10), metadata={op_name="jit"}
  %wide.param.244 = (s32[]{:T(128)}, bf16[1,64]{1,0:T(2,128)}) parameter(0)
  %get-tuple-element.2161 = s32[]{:T(128)} \
get-tuple-element(%wide.param.244), index=0
  ROOT %lt.299 = pred[]{:T(512)} compare(%get-tuple-element.2161, \
%constant.295.clone.2), direction=LT
}

ENTRY %main.5 (param.1: f32[8]) -> (f32[8], f32[]) {
  %param.1 = f32[8]{0:T(128)S(1)} parameter(0), sharding={replicated}
  %copy.1204 = f32[8]{0:T(128)S(1)} copy(%param.1), backend_config=\
{"window_config":{"estimated_cycles":"100"}}
  %while.64 = (s32[]{:T(128)}, bf16[1,64]{1,0:T(2,128)(2,1)S(1)}) \
while(%tuple.288), condition=%wide.region_53.54_spmd.clone, \
body=%wide.region_51.53_spmd.clone.sunk, metadata={op_name="jit"}
  %all-reduce-start.3 = f32[4,8]{1,0:T(8,128)} all-reduce-start(%copy.1204), \
channel_id=3, to_apply=%region_2.0
  %all-reduce-done.3 = f32[4,8]{1,0:T(8,128)} \
all-reduce-done(%all-reduce-start.3)
  %all-gather-start = (f32[8]{0}, f32[32]{0}) all-gather-start(%copy.1204)
  %all-gather-done = f32[32]{0} all-gather-done(%all-gather-start)
  ROOT %all-reduce.2 = (f32[8]{0:T(128)S(1)}, /*index=1*/f32[]{:T(128)}) \
all-reduce(%copy.1204, %param.1), channel_id=1, to_apply=%region_2.0
}
"""
# Of the same step for four devices of a CPU, where the text names the rounds.
CPU = """\
HloModule jit__train_step, num_partitions=4

%body (p: (s32[], f32[2])) -> (s32[], f32[2]) {
  %p = (s32[], f32[2]{0}) parameter(0)
  %gte = f32[2]{0} get-tuple-element(%p), index=1
  %all-reduce.7 = f32[2]{0} all-reduce(%gte), to_apply=%add
  ROOT %tuple = (s32[], f32[2]{0}) tuple(%gte, %all-reduce.7)
}

%wrapped_compare_computation (param_0: s32[], param_1: s32[]) -> pred[] {
  %param_0 = s32[] parameter(0)
  ROOT %lt = pred[] compare(%param_0, %param_1), direction=LT
}

%condition (p.1: (s32[], f32[2])) -> pred[] {
  %p.1 = (s32[], f32[2]{0}) parameter(0)
  ROOT %wrapped_compare = pred[] fusion(%p.1), kind=kLoop, \
calls=%wrapped_compare_computation
}

%parallel_call (p.2: f32[2]) -> f32[2] {
  %p.2 = f32[2]{0} parameter(0)
  ROOT %permute = pred[2]{0} collective-permute(%p.2), channel_id=2
}

ENTRY %main.5 (p.3: f32[2]) -> f32[2] {
  %p.3 = f32[2]{0} parameter(0)
  %while.1 = (s32[], f32[2]{0}) while(%p.3), condition=%condition, \
body=%body, backend_config={"known_trip_count":{"n":"150"},\
"known_induction_variable":{"tuple_index":"0"}}
  ROOT %call = f32[2]{0} call(%p.3), to_apply=%parallel_call
}
"""


def test_collectives_of_a_loop_count_as_often_as_it_goes_round():
  found = hlo.collectives(TPU)
  # In the loop 64 of two bytes; outside 32, then 8 and 1, of four.
  assert found == {
    'all-reduce': (10 + 1 + 1, 10 * 64 * 2 + 4 * 32 + 4 * 9),
    'all-gather': (1, 4 * 32),
  }


def test_of_several_operands_all_that_is_gathered_counts():
  text = TPU.replace(
    '%all-gather-start = (f32[8]{0}, f32[32]{0}) all-gather-start(%copy.1204)',
    '%all-gather-start = ((f32[8]{0:T(128)}, bf16[1,8]{1,0}), '
    '(f32[32]{0:T(128)}, /*index=1*/bf16[4,8]{1,0:T(8,128)(2,1)})) '
    'all-gather-start(%copy.1204, %param.1)',
  )
  assert hlo.collectives(text)['all-gather'] == (1, 4 * 32 + 2 * 32)
  text = CPU.replace(
    '%permute = pred[2]{0} collective-permute(',
    '%permute = (pred[2]{0}, pred[2]{0}, u32[], u32[]) '
    'collective-permute-start(',
  )
  assert hlo.collectives(text)['collective-permute'] == (1, 2)


def test_cycles_are_summed_with_those_of_every_round():
  assert hlo.estimated_cycles(TPU) == 100 + 10 * 1825


def test_a_cpus_program_names_the_rounds_and_estimates_nothing():
  assert hlo.collectives(CPU) == {
    'all-reduce': (150, 150 * 8),
    'collective-permute': (1, 2),
  }
  assert hlo.estimated_cycles(CPU) is None


def test_a_loop_that_does_not_say_is_counted_once():
  unknown = CPU.replace('known_trip_count', 'something_else')
  assert hlo.collectives(unknown)['all-reduce'].num == 1
