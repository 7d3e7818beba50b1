// One number with its name; `to` opens the list that the number sums.
satmachine.component('tile', {
  props: {
    label: String,
    value: String,
    notes: {type: [String, Array], default: () => []},
    to: {type: [String, Object], default: null}
  },
  computed: {
    // An amount and its currency may stand on two lines of a narrow tile.
    text() {
      return (this.value || '').replace(/\u00a0/g, ' ')
    },
    lines() {
      return [this.notes].flat().filter(Boolean)
    }
  }
})
