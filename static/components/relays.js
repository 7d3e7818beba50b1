// The line to the machines: service key and relays.
satmachine.component('relays', {
  mixins: [satmachine.autoReload, satmachine.saving, satmachine.keepsTyped],
  data() {
    return {npub: '', problem: '', text: '', was: ''}
  },
  computed: {
    dirty() {
      return this.text !== this.was
    },
    relays() {
      return this.text.split(/\s+/).filter(Boolean)
    }
  },
  methods: {
    async load(api) {
      const answer = await api.get('/super/nostr')
      return () => this.show(answer)
    },
    show({service_npub, relays, problem}) {
      const same = this.text === this.was
      this.npub = service_npub
      this.problem = problem
      this.was = (relays || []).join('\n')
      if (same) this.text = this.was
    },
    valid() {
      const bad = this.relays.find(relay => !/^wss?:\/\/\S+$/.test(relay))
      return !bad || this.t('relays.invalid', {relay: this.fmt.short(bad)})
    },
    save() {
      return this.send(async () => {
        const answer = await satmachine.api.put('/super/nostr', {
          relays: this.relays
        })
        this.text = this.was
        this.show(answer)
        this.say(this.t('relays.saved'))
      })
    },
    revoke() {
      this.$refs.action.open({
        title: this.t('relays.revoke_title'),
        lines: this.t('relays.revoke_text'),
        ok: this.t('relays.revoke'),
        danger: true,
        run: async () => {
          await satmachine.api.post('/super/nostr/revoke')
          return this.t('relays.revoked')
        }
      })
    },
    rotate() {
      this.$refs.action.open({
        title: this.t('relays.rotate_title'),
        lines: this.t('relays.rotate_text'),
        ok: this.t('relays.rotate'),
        danger: true,
        run: async () => {
          await satmachine.api.post('/super/nostr/rotate')
          return this.t('relays.rotated')
        }
      })
    }
  }
})
