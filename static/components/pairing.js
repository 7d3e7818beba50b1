// The pairing QR of a machine; turns into "paired" by itself when the machine
// has sent the code.
satmachine.part('pairing', {
  emits: ['paired'],
  data() {
    return {
      shown: false,
      state: 'loading',
      error: '',
      busy: false,
      machine: null,
      pairing: null
    }
  },
  computed: {
    title() {
      return this.t('pairing.title', {name: this.machine?.name || ''})
    },
    payload() {
      const {machine_npub, service_npub, relays, pairing_code} = this.pairing
      return JSON.stringify({machine_npub, service_npub, relays, pairing_code})
    },
    expired() {
      const until = this.fmt.parse(this.pairing.expires_at)
      return !until || until < new Date()
    },
    validText() {
      return this.expired
        ? this.t('pairing.expired')
        : this.t('pairing.until', {
            time: this.fmt.time(this.pairing.expires_at)
          })
    },
    sheet() {
      const lang = this.$i18n.locale
      return `/satmachineadmin/machines/${this.machine?.id}/pairing-sheet?lang=${lang}`
    }
  },
  watch: {
    'store.version'() {
      if (this.shown && this.pairing && !this.pairing.is_paired) this.look()
    }
  },
  methods: {
    open(machine) {
      this.machine = machine
      this.pairing = null
      this.shown = true
      this.fetch()
    },
    async fetch() {
      this.state = 'loading'
      try {
        await this.look()
        const paired = this.pairing.is_paired
        if (!paired && (!this.pairing.pairing_code || this.expired)) {
          await this.renew()
        }
        this.state = 'ready'
      } catch (error) {
        this.error = error.message
        this.state = 'error'
      }
    },
    async look() {
      this.pairing = await satmachine.api.get(
        `/machines/${this.machine.id}/pairing`
      )
      if (this.pairing.is_paired) this.$emit('paired')
    },
    async renew() {
      this.busy = true
      try {
        this.pairing = await satmachine.api.post(
          `/machines/${this.machine.id}/pairing`
        )
      } finally {
        this.busy = false
      }
    }
  }
})
