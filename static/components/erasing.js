// Everything of the extension: downloaded first, then deleted, when nobody is owed.
satmachine.component('erasing', {
  mixins: [satmachine.autoReload],
  data() {
    return {found: {}}
  },
  computed: {
    path() {
      return satmachine.api.url('/super/everything.zip')
    },
    downloaded() {
      const {exported_at, is_exported} = this.found
      if (!exported_at) return this.t('erasing.not_downloaded')
      const key = is_exported ? 'downloaded' : 'changed'
      return this.t(`erasing.${key}`, {when: this.fmt.time(exported_at)})
    }
  },
  methods: {
    async load(api) {
      const found = await api.get('/super/everything')
      return () => (this.found = found)
    },
    // The browser says of no download when it is over.
    again() {
      setTimeout(() => this.reload(true), 2000)
    },
    ask() {
      const words = this.t('erasing.words')
      this.$refs.action.open({
        title: this.t('erasing.ask_title'),
        lines: [this.t('erasing.ask_text')],
        danger: true,
        fields: [
          {
            name: 'confirmation',
            label: this.t('erasing.type'),
            type: 'text',
            required: true,
            check: value => value === words || this.t('erasing.wrong')
          },
          {
            name: 'reason',
            label: this.t('erasing.reason'),
            type: 'text',
            required: true
          }
        ],
        ok: this.t('erasing.ask'),
        run: async values => {
          await satmachine.api.post('/super/everything/delete', values)
          return this.t('erasing.done')
        }
      })
    }
  }
})
