/* Every number of the layout that C and Go share. */
#include "stress.h"

#define SIZE(type) {#type, sizeof(type)}
#define FIELD(type, field) {#type "." #field, offsetof(type, field)}
#define VALUE(name) {#name, name}

static const number numbers[] = {
  SIZE(root), FIELD(root, slots), FIELD(root, bells), FIELD(root, budgets), FIELD(root, slot_count),
  FIELD(root, slots_fresh), FIELD(root, block_refs), FIELD(root, slots_free), FIELD(root, slots_live),
  FIELD(root, chunks), FIELD(root, blocks), FIELD(root, directories),

  SIZE(pool), FIELD(pool, base), FIELD(pool, links), FIELD(pool, shift), FIELD(pool, count), FIELD(pool, clean),
  FIELD(pool, dirty), FIELD(pool, cold), FIELD(pool, fresh), FIELD(pool, in_use), FIELD(pool, colds),

  SIZE(bell), FIELD(bell, stack), FIELD(bell, state), FIELD(bell, fd), FIELD(bell, rung), FIELD(bell, users),

  SIZE(budget), FIELD(budget, limit), FIELD(budget, used), FIELD(budget, starved), FIELD(budget, epoch),
  FIELD(budget, granted),

  SIZE(slot), FIELD(slot, id), FIELD(slot, context), FIELD(slot, max_message), FIELD(slot, state), FIELD(slot, command),
  FIELD(slot, untold),
  FIELD(slot, linger), FIELD(slot, budget), FIELD(slot, bound), FIELD(slot, inbox), FIELD(slot, reason),
  FIELD(slot, room), FIELD(slot, want), FIELD(slot, scheduled), FIELD(slot, owner), FIELD(slot, next),
  FIELD(slot, awaited), FIELD(slot, manual), FIELD(slot, free), FIELD(slot, held), FIELD(slot, queue_first),
  FIELD(slot, queue_last), FIELD(slot, queue_ready), FIELD(slot, queue_next), FIELD(slot, remains), FIELD(slot, lanes),

  SIZE(lane), FIELD(lane, tail), FIELD(lane, given), FIELD(lane, done), FIELD(lane, head), FIELD(lane, head_seq),
  FIELD(lane, charged), FIELD(lane, limit), FIELD(lane, asked), FIELD(lane, cut), FIELD(lane, await),
  FIELD(lane, large), FIELD(lane, inline_pieces),

  SIZE(reference), FIELD(reference, addr), FIELD(reference, size), FIELD(reference, release), FIELD(reference, hint),

  VALUE(LANES), VALUE(INLINE_PIECES), VALUE(MAX_INLINE), VALUE(MAX_GENERATION), VALUE(FRAME_MSG),
  VALUE(KIND_DRIVER), VALUE(KIND_LISTENER), VALUE(KIND_ENDPOINT), VALUE(KIND_INBOX), VALUE(KIND_TIMER),
  VALUE(STATE_UP), VALUE(STATE_CLOSED), VALUE(STATE_QUIET), VALUE(STATE_SLEEPS),
  VALUE(STATE_PARTED),
  VALUE(COMMAND_CLOSE), VALUE(COMMAND_END), VALUE(COMMAND_RESUME), VALUE(COMMAND_QUIESCE), VALUE(COMMAND_FLUSH),
  VALUE(WANT_EVENT), VALUE(WANT_WAKE), VALUE(WANT_ACK), VALUE(NUMBER_BITS), VALUE(CUT_SHIFT),
  VALUE(RELEASE_NOTHING), VALUE(RELEASE_CHUNK), VALUE(RELEASE_BLOCK), VALUE(RELEASE_HELD), VALUE(RELEASE_FREE),
  VALUE(RELEASE_CALL),
};

number layout(int i) {
  if (i < 0 || (size_t)i >= sizeof numbers / sizeof *numbers) return (number){NULL, 0};
  return numbers[i];
}
