// The pairing QR of a machine; turns into "paired" by itself when the machine
// has sent the code. A machine that is paired can be paired again.
satmachine.component('pairing', {
  mixins: [satmachine.saving],
  emits: ['paired'],
  data() {
    return {
      shown: false,
      state: 'loading',
      error: '',
      machine: null,
      pairing: null,
      // Whether the code is on the screen, and when it was paired before.
      waits: false,
      before: null
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
      return !until || until.getTime() < satmachine.clock.now
    },
    validText() {
      return this.expired
        ? this.t('pairing.expired')
        : this.t('pairing.until', {
            time: this.fmt.time(this.pairing.expires_at)
          })
    },
    doneText() {
      const {paired_at} = this.pairing
      return paired_at
        ? this.t('pairing.done_since', {time: this.fmt.time(paired_at)})
        : this.t('pairing.done')
    },
    sheet() {
      const path = `/machines/${this.machine?.id}/pairing-sheet`
      return satmachine.api.page(path, {lang: this.$i18n.locale})
    }
  },
  watch: {
    'store.version'() {
      if (this.shown && this.waits) this.lookQuietly()
    }
  },
  methods: {
    unpairing() {
      const name = this.machine.name || this.fmt.short(this.machine.id)
      return {
        title: this.t('pairing.unpair_title', {name}),
        lines: this.t('pairing.unpair_text'),
        ok: this.t('pairing.unpair'),
        danger: true,
        fields: [
          {
            name: 'reason',
            type: 'long',
            label: this.t('common.reason'),
            required: true
          }
        ],
        run: async values => {
          await satmachine.api.post(
            `/machines/${this.machine.id}/unpair`,
            values
          )
          return this.t('pairing.unpair_done', {name})
        }
      }
    },
    open(machine) {
      this.machine = machine
      this.pairing = null
      this.waits = false
      this.failure = ''
      this.shown = true
      this.fetch()
    },
    async fetch() {
      this.state = 'loading'
      try {
        await this.look()
        const hasCode = this.pairing.pairing_code && !this.expired
        this.before = this.pairing.paired_at
        this.waits = !this.pairing.is_paired || !!hasCode
        if (this.waits && !hasCode) await this.make()
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
      const {is_paired, paired_at} = this.pairing
      if (!this.waits || !is_paired || paired_at === this.before) return
      this.waits = false
      this.$emit('paired')
    },
    async lookQuietly() {
      try {
        await this.look()
        this.failure = ''
      } catch (error) {
        this.failure = this.t('common.behind', {why: error.message})
      }
    },
    async make() {
      this.pairing = await satmachine.api.post(
        `/machines/${this.machine.id}/pairing`
      )
    },
    renew() {
      return this.send(async () => {
        await this.make()
        this.before = this.pairing.paired_at
        this.waits = true
      })
    }
  }
})
