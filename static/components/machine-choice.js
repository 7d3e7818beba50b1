// Which machines are meant: all, also later ones (null), or those that are named.
satmachine.component('machine-choice', {
  props: {
    modelValue: {type: Array, default: null},
    options: {type: Array, required: true},
    all: {type: String, required: true}
  },
  emits: ['update:modelValue'],
  computed: {
    isAll: {
      get() {
        return this.modelValue === null
      },
      set(isAll) {
        this.$emit('update:modelValue', isAll ? null : [])
      }
    }
  },
  methods: {
    some(chosen) {
      return !!chosen?.length || this.t('machine_choice.none')
    }
  }
})
