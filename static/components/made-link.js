// A link that was made for one person, shown once: until when it is good, as a QR code,
// and to be copied.
satmachine.component('made-link', {
  props: {
    made: {type: Object, required: true},
    text: {type: String, required: true}
  }
})
