satmachine.component('copyable', {
  props: {value: String, label: String, whole: Boolean},
  computed: {
    shown() {
      return this.whole ? this.value : this.fmt.short(this.value)
    }
  }
})
