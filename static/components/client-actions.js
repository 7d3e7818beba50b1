// What an operator can do about one LP.
satmachine.component('client-actions', {
  props: {
    client: {type: Object, required: true},
    balance: {type: Object, required: true}
  },
  emits: ['changed', 'deposit'],
  computed: {
    paused() {
      return this.client.status === 'paused'
    },
    path() {
      return `/clients/${this.client.id}`
    },
    name() {
      return this.client.username || this.fmt.short(this.client.id)
    }
  },
  methods: {
    pause() {
      const status = this.paused ? 'active' : 'paused'
      const verb = this.paused ? 'resume' : 'pause'
      this.$refs.action.open({
        title: this.t(`lps.${verb}_title`, {name: this.name}),
        lines: this.t(`lps.${verb}_text`),
        ok: this.t(`lps.${verb}`),
        run: async () => {
          await satmachine.api.put(this.path, {status})
        }
      })
    },
    rename() {
      this.$refs.action.open({
        title: this.t('lps.rename_title'),
        lines: this.t('lps.rename_text'),
        ok: this.t('common.save'),
        fields: [
          {
            name: 'username',
            label: this.t('lps.name'),
            value: this.client.username,
            required: true
          }
        ],
        run: async values => {
          await satmachine.api.put(this.path, values)
        }
      })
    },
    remove() {
      this.$refs.action.open({
        title: this.t('lps.remove_title', {name: this.name}),
        lines: this.t('lps.remove_text'),
        ok: this.t('machine.remove'),
        danger: true,
        run: () =>
          satmachine.live.ending(async () => {
            await satmachine.api.delete(this.path)
            await this.go('lps')
          })
      })
    },
    close() {
      const {remaining, currency} = this.balance
      const fiat = this.fmt.fiat(remaining, currency)
      const sats = rate => Math.round(Number(remaining) * Number(rate))
      const wallets = this.g.user.wallets
        .filter(wallet => wallet.walletType === 'lightning')
        .map(({id, name, sat}) => ({
          value: id,
          label: `${name} (${this.fmt.sats(sat)})`
        }))
      // a rate that is refused as too high, until it is sent again
      const asked = satmachine.asksTwice('confirm_rate', true, () =>
        this.t('lps.close_confirm')
      )
      this.$refs.action.open({
        title: this.t('lps.close_title', {name: this.name}),
        lines: this.t('lps.close_text', {fiat}),
        ok: this.t('lps.close'),
        fields: [
          {
            name: 'wallet_id',
            type: 'select',
            label: this.t('lps.close_wallet'),
            options: wallets,
            value: null,
            required: true
          },
          {
            name: 'exchange_rate',
            label: this.t('lps.close_rate'),
            type: 'rate',
            suffix: `sat / ${currency}`,
            required: true
          },
          {
            name: 'reason',
            type: 'long',
            label: this.t('common.reason'),
            required: true
          }
        ],
        once: 'paid',
        preview: ({exchange_rate: rate}) => {
          return rate
            ? this.t('lps.close_preview', {
                fiat,
                sats: this.fmt.sats(sats(rate)),
                name: this.name
              })
            : ''
        },
        run: async ({wallet_id, exchange_rate, reason}, idempotency_key) => {
          const body = {wallet_id, reason, idempotency_key, exchange_rate}
          const path = `${this.path}/close-balance`
          const leg = await asked(exchange_rate, meant =>
            satmachine.api.post(path, {...body, ...meant})
          )
          if (leg.offer_id) {
            return this.t('lps.close_offered', {name: this.name})
          }
          return this.t('lps.closed', {
            sats: this.fmt.sats(leg.amount_sats),
            name: this.name
          })
        }
      })
    }
  }
})
