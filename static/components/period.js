satmachine.component('period', {
  props: {
    modelValue: Number,
    choices: {type: Array, default: () => [1, 7, 30]}
  },
  emits: ['update:modelValue']
})
