// The repairs that this settlement allows, most wanted first.
;(() => {
  const at = path => `POST /settlements/{settlement_id}/${path}`
  const ROUTES = {
    resolve: at('resolve'),
    retry: at('retry'),
    refund: at('refund'),
    dispense: at('dispense'),
    voidIt: at('void'),
    seen: at('seen'),
    note: at('notes'),
    test: at('test')
  }

  satmachine.component('settlement-actions', {
    props: {settlement: {type: Object, required: true}},
    emits: ['changed'],
    data() {
      return {
        icons: {
          resolve: 'build',
          refund: 'undo',
          dispense: 'local_atm',
          retry: 'replay',
          voidIt: 'block',
          seen: 'visibility',
          note: 'edit_note',
          test: 'science'
        }
      }
    },
    computed: {
      legs() {
        return this.settlement.legs || []
      },
      // The sharing out itself failed: nothing was planned.
      unplanned() {
        const {status, dispense_state} = this.settlement
        const waits = dispense_state === 'awaiting'
        return status === 'attention' && !waits && !this.legs.length
      },
      offered() {
        const {status, tx_type, refundable_sats} = this.settlement
        const held = status === 'quarantined'
        const open = !['voided', 'quarantined'].includes(status)
        const moved = this.legs.some(
          leg => leg.status === 'completed' || leg.in_flight
        )
        const failed = this.legs.some(
          leg => leg.status === 'failed' && !leg.in_flight
        )
        return [
          held && 'resolve',
          (failed || this.unplanned) && 'retry',
          refundable_sats > 0 && 'refund',
          (open || held) && tx_type === 'cash_out' && 'dispense',
          status !== 'voided' && !moved && 'voidIt',
          this.isUnseen(this.settlement) && 'seen',
          'note',
          'test'
        ].filter(action => action && this.can(ROUTES[action]))
      }
    },
    // Where an address asks for it, its dialog is there at once, one time.
    async mounted() {
      const step = this.$route.query.do
      if (!this.offered.includes(step)) return
      // a dialog closes when the address changes
      await this.$router.replace({query: {}})
      this.act(step)
    },
    methods: {
      act(action) {
        this[action]()
      },
      label(action) {
        if (action === 'retry' && this.unplanned) return 'replan'
        if (action === 'test' && this.settlement.is_test) return 'untest'
        return action === 'voidIt' ? 'void' : action
      },
      wanted(action, index) {
        const waits = ['awaiting_dispense', 'attention']
        const quiet = ['seen', 'note', 'test', 'voidIt']
        if (index > 0 || quiet.includes(action)) return false
        return action !== 'dispense' || waits.includes(this.settlement.status)
      },
      reason() {
        return {
          name: 'reason',
          label: this.t('common.reason'),
          type: 'long',
          required: true
        }
      },
      ask(verb, {path = verb, fields, lines, ...extra}) {
        const asked = extra.receiver
          ? satmachine.asksReceiver(this.t(`repair.${verb}`))
          : (_, send) => send()
        this.$refs.action.open({
          title: this.t(`repair.${verb}_title`),
          lines: lines || this.t(`repair.${verb}_text`),
          ok: this.t(`repair.${verb}`),
          fields,
          run: async (values, key) => {
            const body = extra.body ? extra.body(values, key) : values
            const id = this.settlement.id
            const now = await asked(body, must =>
              satmachine.api.post(`/settlements/${id}/${path}`, {
                ...body,
                ...must
              })
            )
            return extra.tell ? extra.tell(now) : this.t(`repair.${verb}_done`)
          },
          ...extra
        })
      },
      resolve() {
        const {settlement} = this
        const stamp = settlement.stamp || {}
        const code =
          this.currencyOf(settlement.machine_id) || settlement.fiat_code
        const known = (name, type) => ({
          name,
          type,
          label: this.t(`repair.${name}`),
          value: String(settlement[name] ?? stamp[name] ?? ''),
          required: true
        })
        this.ask('resolve', {
          lines: [
            this.localize(settlement.error_message),
            this.t('repair.resolve_text', {
              wire: this.fmt.sats(settlement.wire_sats)
            })
          ].filter(Boolean),
          fields: [
            {
              name: 'tx_type',
              type: 'select',
              label: this.t('settlement.tx_type'),
              value: settlement.tx_type || stamp.tx_type || 'cash_out',
              options: ['cash_out', 'cash_in'].map(value => ({
                value,
                label: this.words('tx_type', value)
              }))
            },
            known('principal_sats', 'sats'),
            known('fee_sats', 'sats'),
            {...known('fiat_amount', 'amount'), suffix: code},
            this.reason()
          ],
          preview: values => this.checkSum(values),
          body: values => ({...values, fiat_code: code})
        })
      },
      checkSum({tx_type, principal_sats, fee_sats}) {
        if (principal_sats === null || fee_sats === null) return ''
        const sign = tx_type === 'cash_in' ? -1 : 1
        const sum = principal_sats + sign * fee_sats
        const fits = sum === this.settlement.wire_sats
        return this.t(fits ? 'repair.sum_fits' : 'repair.sum_differs', {
          sum: this.fmt.sats(sum),
          wire: this.fmt.sats(this.settlement.wire_sats)
        })
      },
      dispense() {
        const before = this.settlement
        const {fiat_amount, fiat_code} = before
        this.ask('dispense', {
          lines: this.t('repair.dispense_text', {
            fiat: this.fmt.fiat(fiat_amount, fiat_code)
          }),
          fields: [
            {
              name: 'dispensed_fiat',
              type: 'amount',
              suffix: fiat_code,
              label: this.t('repair.dispensed_fiat'),
              required: true
            },
            this.reason()
          ],
          foresee: values => this.foresee(values.dispensed_fiat),
          tell: now => this.tellDispense(before, now)
        })
      },
      // The server does it, says what came of it, and takes it back.
      async foresee(dispensed_fiat) {
        if (!dispensed_fiat) return ''
        const path = `/settlements/${this.settlement.id}/dispense/preview`
        const found = await satmachine.api.post(path, {dispensed_fiat})
        if (this.settlement.status === 'quarantined') {
          return this.t('repair.dispense_kept')
        }
        if (!found.changes) return this.t('repair.dispense_same')
        const {paid_sats, loss_sats, asks} = found
        const {sats} = this.fmt
        const shares = this.t('repair.dispense_shares', {
          lps: sats(found.lps_sats),
          platform: sats(found.platform_sats),
          operator: sats(found.operator_sats),
          refund: sats(found.refund_sats)
        })
        return [
          asks && this.t('repair.dispense_asks'),
          shares,
          paid_sats && this.t('repair.dispense_paid', {paid: sats(paid_sats)}),
          loss_sats && this.t('repair.dispense_loss', {loss: sats(loss_sats)})
        ]
          .filter(Boolean)
          .join(' ')
      },
      // What happened, by the sale as the answer shows it.
      tellDispense(before, {consent, status, legs, refundable_sats}) {
        if (status === 'quarantined') return this.t('repair.dispense_kept')
        const was = before.consent?.id
        if (consent?.state === 'open' && consent.id !== was) {
          return this.t('repair.dispense_asked')
        }
        if (!legs.length) return this.t('repair.dispense_done')
        if (refundable_sats === before.refundable_sats) {
          return this.t('repair.dispense_nothing')
        }
        const refund = this.fmt.sats(refundable_sats)
        return this.t('repair.dispense_owed', {refund})
      },
      // Of all that the customer is owed of this sale, as the server counts it.
      isAboveLimit() {
        const {refundLimit} = this.store
        const owed = this.legs
          .filter(leg => leg.leg_type === 'refund' && leg.status !== 'voided')
          .reduce((all, leg) => all + leg.amount_sats, 0)
        return this.acting && refundLimit !== null && owed > refundLimit
      },
      refund() {
        const {refundable_sats, max_refund_sats} = this.settlement
        if (this.isAboveLimit()) {
          this.$refs.action.open({
            title: this.t('repair.refund_title'),
            lines: this.t('team.above_limit', {
              limit: this.fmt.sats(this.store.refundLimit)
            })
          })
          return
        }
        this.ask('refund', {
          lines: this.t('repair.refund_text', {
            owed: this.fmt.sats(refundable_sats),
            most: this.fmt.sats(max_refund_sats)
          }),
          fields: [
            {
              name: 'destination',
              type: 'long',
              label: this.t('repair.destination'),
              hint: this.t('repair.destination_hint', {
                most: this.fmt.sats(max_refund_sats)
              }),
              required: true
            },
            this.reason()
          ],
          once: 'paid',
          receiver: true,
          body: (values, key) => ({...values, idempotency_key: key})
        })
      },
      retry() {
        if (this.unplanned) {
          this.ask('replan', {path: 'retry', fields: [this.reason()]})
          return
        }
        const failed = this.legs.filter(leg => leg.status === 'failed')
        const sats = failed.reduce((all, leg) => all + leg.amount_sats, 0)
        this.ask('retry', {
          lines: this.t(
            'repair.retry_text',
            {
              n: this.fmt.number(failed.length),
              sats: this.fmt.sats(sats)
            },
            failed.length
          ),
          fields: [this.reason()]
        })
      },
      voidIt() {
        this.ask('void', {
          fields: [this.reason()],
          danger: true
        })
      },
      seen() {
        this.ask('seen', {
          fields: [{...this.reason(), required: false}],
          body: ({reason}) => (reason ? {reason} : {})
        })
      },
      note() {
        this.ask('note', {
          path: 'notes',
          fields: [
            {
              name: 'note',
              type: 'long',
              label: this.t('repair.note_label'),
              required: true
            }
          ]
        })
      },
      test() {
        const is_test = !this.settlement.is_test
        this.ask(is_test ? 'test' : 'untest', {
          path: 'test',
          fields: [this.reason()],
          body: values => ({...values, is_test})
        })
      }
    }
  })
})()
