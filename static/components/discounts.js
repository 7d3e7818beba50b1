// Codes of the reader's, or the `platform`'s: how often each was used, how often it
// still may be, and what it forgave.
;(() => {
  const TONES = {
    on: 'good',
    later: 'busy',
    over: 'calm',
    used_up: 'calm',
    ended: 'calm'
  }

  satmachine.component('discounts', {
    props: {platform: Boolean, url: Boolean, locked: Boolean},
    computed: {
      path() {
        return this.platform ? '/super/discounts' : '/discounts'
      },
      columns() {
        const col = (name, extra) => ({
          name,
          label: this.t(`discounts.${name}`),
          sortable: true,
          ...extra
        })
        const columns = [
          col('code'),
          col('fraction', {
            right: true,
            format: value => this.fmt.percent(value)
          }),
          col('uses', {right: true}),
          col('forgiven_sats', {right: true}),
          col('valid_until', {sortable: true}),
          col('is_active')
        ]
        return this.locked
          ? columns
          : [...columns, col('actions', {sortable: false})]
      },
      filters() {
        return [
          {
            name: 'is_active',
            label: this.t('discounts.filter_active'),
            options: ['true', 'false'].map(value => ({
              value,
              label: this.t(value === 'true' ? 'common.yes' : 'common.no')
            }))
          }
        ]
      }
    },
    methods: {
      stateOf(row) {
        const now = satmachine.clock.now
        const isPast = at => at && this.fmt.parse(at) <= now
        if (!row.is_active) return 'ended'
        if (isPast(row.valid_until)) return 'over'
        if (row.max_uses !== null && row.uses >= row.max_uses) return 'used_up'
        if (row.valid_from && !isPast(row.valid_from)) return 'later'
        return 'on'
      },
      toneOf(row) {
        return TONES[this.stateOf(row)]
      },
      usesText({uses, max_uses}) {
        const used = this.fmt.number(uses)
        if (max_uses === null) return used
        return this.t('discounts.uses_of', {
          used,
          most: this.fmt.number(max_uses),
          left: this.fmt.number(Math.max(0, max_uses - uses))
        })
      },
      daysText({valid_from, valid_until}) {
        const days = key => at => at && this.t(`discounts.${key}`, {day: at})
        const from = this.fmt.firstDay(valid_from)
        const until = this.fmt.lastDay(valid_until)
        return (
          [
            days('from_day')(from && this.dated(from)),
            days('until_day')(until && this.dated(until))
          ]
            .filter(Boolean)
            .join(' ') || this.t('discounts.always')
        )
      },
      // With its year: a code may be good for years.
      dated(day) {
        const look = {dateStyle: 'medium', timeZone: 'UTC'}
        return this.fmt.time(`${day}T12:00:00Z`, look)
      },
      wherever({machine_ids}) {
        if (machine_ids) return machine_ids.map(this.machineName).join(', ')
        return this.t(
          this.platform ? 'discounts.everywhere' : 'discounts.at_all'
        )
      },
      // The sales that took it: what it forgave is the sum of theirs.
      salesOf({code}) {
        const query = {discount_code: code}
        if (this.platform) query.all = '1'
        return {path: '/satmachineadmin/settlements', query}
      },
      reload() {
        this.$refs.list.reload(true)
      },
      turn(row, isOn) {
        const way = isOn ? 'resume' : 'end'
        const {code} = row
        this.$refs.action.open({
          title: this.t(`discounts.${way}_title`, {code}),
          lines: this.t(`discounts.${way}_text`),
          ok: this.t(`discounts.${way}`),
          danger: !isOn,
          run: async () => {
            const body = {is_active: isOn}
            await satmachine.api.put(`${this.path}/${row.id}`, body)
            return this.t(`discounts.${way}_done`, {code})
          }
        })
      },
      remove(row) {
        const {code} = row
        this.$refs.action.open({
          title: this.t('discounts.remove_title', {code}),
          lines: this.t('discounts.remove_text'),
          ok: this.t('discounts.remove'),
          danger: true,
          run: async () => {
            await satmachine.api.delete(`${this.path}/${row.id}`)
            return this.t('discounts.remove_done', {code})
          }
        })
      }
    }
  })
})()
