// One number with its name; `to` opens the list that the number sums.
satmachine.part('tile', {
  props: {
    label: String,
    value: String,
    notes: {type: [String, Array], default: () => []},
    to: {type: [String, Object], default: null}
  },
  computed: {
    lines() {
      return [this.notes].flat().filter(Boolean)
    }
  }
})
