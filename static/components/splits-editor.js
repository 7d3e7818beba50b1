// Who shares the operator's fee: the defaults, or the override of a machine.
// Shows the sum, what is left to 100 %, and a 100 000 sat example, live.
;(() => {
  const EXAMPLE = 100000
  let nextKey = 0

  satmachine.component('splits-editor', {
    mixins: [satmachine.autoReload, satmachine.saving, satmachine.keepsTyped],
    props: {machine: {type: Object, default: null}},
    data() {
      return {
        EXAMPLE,
        rows: [],
        was: '[]',
        editing: false,
        preview: null
      }
    },
    computed: {
      mayChange() {
        const of = this.machine ? '/machines/{machine_id}/splits' : '/splits'
        return this.can(`PUT ${of}`)
      },
      title() {
        return this.t(this.machine ? 'splits.override' : 'splits.defaults')
      },
      path() {
        return this.machine ? `/machines/${this.machine.id}/splits` : '/splits'
      },
      wallets() {
        const paying = this.store.machines.map(one => one.wallet_id)
        return this.g.user.wallets.filter(
          ({id, walletType}) =>
            walletType === 'lightning' && !paying.includes(id)
        )
      },
      body() {
        return this.rows.map(({target, label, percent}, sort_order) => ({
          target,
          label: label || null,
          fraction: this.fmt.toFraction(percent) ?? '0.0000',
          sort_order
        }))
      },
      // In ten-thousandths, as the fractions are kept.
      left() {
        return this.body.reduce(
          (left, {fraction}) => left - Math.round(Number(fraction) * 10000),
          10000
        )
      },
      sumText() {
        const sum = this.fmt.percent((10000 - this.left) / 10000)
        if (this.left === 0) return this.t('splits.sum_whole', {sum})
        const rest = this.fmt.percent(Math.abs(this.left) / 10000)
        const key = this.left > 0 ? 'splits.sum_left' : 'splits.sum_over'
        return this.t(key, {sum, rest})
      },
      dirty() {
        return JSON.stringify(this.body) !== this.was
      },
      exampleMachine() {
        return this.machine || this.store.machines[0]
      }
    },
    methods: {
      async load(api) {
        const {splits} = await api.get(this.path)
        return () => {
          if (this.state === 'ready' && this.dirty) return
          this.show(splits)
        }
      },
      show(splits) {
        this.rows = splits.map(({target, label, fraction}) => ({
          key: nextKey++,
          target,
          label: label || '',
          percent: this.fmt.toPercent(fraction)
        }))
        this.was = JSON.stringify(this.body)
        this.editing = false
        this.failure = ''
        this.refreshPreview()
      },
      needed(value) {
        return !!value || this.t('common.required')
      },
      share(value) {
        const fraction = this.fmt.toFraction(value)
        const fits =
          fraction !== null && Number(fraction) > 0 && Number(fraction) <= 1
        return fits || this.t('splits.share_invalid')
      },
      start() {
        this.editing = true
        this.add()
      },
      add() {
        const percent = String(Math.max(0, this.left) / 100)
        this.rows.push({key: nextKey++, target: '', label: '', percent})
        this.previewSoon()
      },
      remove(row) {
        this.rows = this.rows.filter(one => one !== row)
        this.previewSoon()
      },
      pick(row, wallet) {
        row.target = wallet.id
        row.label ||= wallet.name
        this.previewSoon()
      },
      // What is missing goes to the last one; what is too much leaves it.
      fill() {
        const last = this.rows[this.rows.length - 1]
        const own = Math.round(
          Number(this.fmt.toFraction(last.percent) ?? 0) * 10000
        )
        last.percent = String(Math.max(0, own + this.left) / 100)
        this.previewSoon()
      },
      undo() {
        this.state = 'loading'
        this.reload()
      },
      previewSoon() {
        clearTimeout(this.soon)
        this.soon = setTimeout(() => this.refreshPreview(), 250)
      },
      async refreshPreview() {
        const machine = this.exampleMachine
        if (!machine || (this.rows.length > 0 && this.left !== 0)) {
          this.preview = null
          return
        }
        const splits = this.body.map(({label, fraction}, index) => ({
          label: label || this.t('splits.row', {n: index + 1}),
          fraction
        }))
        try {
          this.preview = await satmachine.api.post('/splits/preview', {
            machine_id: machine.id,
            tx_type: 'cash_out',
            principal_sats: EXAMPLE,
            ...(splits.length || !this.machine ? {splits} : {})
          })
          await this.nameLps(machine)
        } catch {
          this.preview = null // an example only: the editor works without
        }
      },
      async nameLps({id}) {
        this.names ??= satmachine.api
          .all('/clients', {machine_id: id})
          .then(all => new Map(all.map(one => [one.id, one.username])))
        const names = await this.names
        this.preview.legs.forEach(leg => {
          if (leg.client_id) leg.label ||= names.get(leg.client_id)
        })
      },
      save() {
        return this.send(async () => {
          this.asked ??= satmachine.asksReceiver(this.t('splits.save'))
          const {splits} = await this.asked(this.body, must =>
            satmachine.api.put(this.path, {splits: this.body, ...must})
          )
          this.show(splits)
          this.say(this.t('splits.saved'))
        })
      },
      dropOverride() {
        this.$refs.action.open({
          title: this.t('splits.drop_title'),
          lines: this.t('splits.drop_text'),
          ok: this.t('splits.drop_override'),
          run: async () => {
            await satmachine.api.delete(this.path)
            this.show([])
          }
        })
      }
    },
    beforeUnmount() {
      clearTimeout(this.soon)
    }
  })
})()
