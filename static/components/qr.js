// A plain QR code of the bundled library: black on white in every theme.
satmachine.component('qr', {
  components: {QrcodeVue: QrcodeVue.default},
  props: {
    value: {type: String, required: true},
    label: String,
    size: {type: Number, default: 260}
  }
})
