// What stands where content would: loading, an error with a way to try again,
// or nothing yet and what to do next.
satmachine.component('state', {
  props: {
    state: String,
    error: String,
    icon: {type: String, default: 'inbox'},
    title: String,
    text: String,
    lines: {type: Number, default: 4}
  },
  emits: ['retry']
})
