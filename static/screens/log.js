satmachine.component('screen-log', {
  data() {
    return {staff: []}
  },
  computed: {
    // Themselves, roles, and who works for them by name.
    people() {
      const {me, acting} = this
      const roles = [
        (me.operator || me.super) && 'lp',
        (me.lp || me.super || acting) && 'operator',
        !me.super && 'super',
        'machine',
        'engine',
        'system'
      ].filter(Boolean)
      return [
        {value: 'you', label: this.t('audit.you')},
        ...roles.map(value => ({
          value,
          label: this.words('audit_actor', value)
        })),
        ...this.staff.map(value => ({value, label: value}))
      ]
    },
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
        {name: 'actor', label: this.t('log.actor'), options: this.people},
        {name: 'action', label: this.t('log.action'), options: this.actions},
        {
          name: 'machine_id',
          label: this.t('payments.machine_id'),
          options: this.machineOptions()
        },
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
  async created() {
    if (!this.me.operator || !this.can('GET /staff')) return
    // the list is whole without their names
    const found = await satmachine.api.get('/staff').catch(() => ({data: []}))
    this.staff = found.data.map(one => one.username).filter(Boolean)
  },
  methods: {
    target({subject_type, subject_id}) {
      const at = {settlement: 'settlements', machine: 'machines', client: 'lps'}
      const section = at[subject_type]
      return section ? `/satmachineadmin/${section}/${subject_id}` : null
    }
  }
})
