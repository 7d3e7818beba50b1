satmachine.component('screen-log', {
  computed: {
    columns() {
      return [
        {name: 'what', label: this.t('log.what')},
        {name: 'subject_type', label: this.t('log.subject'), sortable: true}
      ]
    },
    filters() {
      const types = ['settlement', 'payment', 'deposit', 'client', 'machine']
      return [
        {
          name: 'subject_type',
          label: this.t('log.subject'),
          options: [...types, 'splits', 'super_config', 'nostr', 'lp'].map(
            value => ({
              value,
              label: this.words('subject', value)
            })
          )
        },
        {name: 'action', label: this.t('log.action'), options: this.actions},
        {name: 'created_at', type: 'range'}
      ]
    },
    // Whatever there are words for, by its words.
    actions() {
      const all = this.$i18n.getLocaleMessage(this.$i18n.locale)
      const flat = (tree, name) =>
        typeof tree === 'string'
          ? [{value: name, label: tree}]
          : Object.entries(tree).flatMap(([key, one]) =>
              flat(one, name ? `${name}.${key}` : key)
            )
      return flat(all.satmachine.audit_action, '').sort((a, b) =>
        a.label.localeCompare(b.label)
      )
    }
  },
  methods: {
    target({subject_type, subject_id}) {
      const at = {settlement: 'settlements', machine: 'machines', client: 'lps'}
      const section = at[subject_type]
      return section ? `/satmachineadmin/${section}/${subject_id}` : null
    }
  }
})
