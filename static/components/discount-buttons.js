// What can be done with a code; one that sales name is ended, not removed.
satmachine.component('discount-buttons', {
  props: {discount: {type: Object, required: true}},
  emits: ['change', 'end', 'resume', 'remove'],
  computed: {
    ways() {
      const {is_active, uses, forgiven_sats} = this.discount
      const unused = !uses && !forgiven_sats
      return [
        'change',
        is_active ? 'end' : 'resume',
        unused && 'remove'
      ].filter(Boolean)
    }
  }
})
