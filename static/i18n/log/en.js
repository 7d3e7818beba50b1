// The words of the log: who did what to which field.
window.i18n.global.mergeLocaleMessage('en', {
  satmachine: {
    log: {
      what: 'What happened',
      subject: 'To what',
      none: 'Nothing yet',
      none_text: 'Everything that people change here is written down.'
    },
    audit_action: {
      landed: 'Recorded',
      shared_out: 'Shared out',
      machine: {
        create: 'Machine registered',
        change: 'Machine changed',
        delete: 'Machine removed',
        give_way: 'Registration given up',
        pairing_code: 'New pairing code',
        cassettes: 'Cassettes changed',
        stop_payouts: 'Payouts stopped',
        resume_payouts: 'Payouts let go on'
      },
      client: {
        create: 'LP enrolled',
        change: 'LP changed',
        delete: 'LP removed',
        close_balance: 'Balance paid out'
      },
      deposit: {
        create: 'Deposit recorded',
        change: 'Deposit changed',
        confirmed: 'Deposit confirmed',
        cancelled: 'Deposit cancelled',
        reversed: 'Deposit reversed'
      },
      lp: {create: 'DCA started', change: 'DCA settings changed'},
      splits: {change: 'Splits changed'},
      settlement: {
        resolve: 'Resolved',
        dispense: 'Dispense reported',
        refund: 'Refund ordered',
        retry: 'Paid again',
        void: 'Voided',
        notes: 'Note added',
        note: 'Note added',
        test: 'Test mark changed'
      },
      payment: {
        retry: 'Payment tried again',
        void: 'Payment voided',
        mark_paid: 'Payment marked as paid'
      },
      nostr: {relays: 'Relays changed', rotate: 'New service key'},
      config: {change: 'Platform fees changed'}
    },
    field: {
      status: 'state',
      amount: 'amount',
      currency: 'currency',
      notes: 'note',
      username: 'name',
      name: 'name',
      location: 'place',
      wallet_id: 'wallet',
      is_active: 'in service',
      operator_cash_in_fee_fraction: 'cash-in fee',
      operator_cash_out_fee_fraction: 'cash-out fee',
      super_cash_in_fee_fraction: 'platform cash-in fee',
      super_cash_out_fee_fraction: 'platform cash-out fee',
      super_fee_wallet_id: 'platform wallet',
      payout_interval_minutes: 'minutes between payouts',
      min_payout_sats: 'smallest payout',
      max_payout_sats: 'largest cash-in payout',
      max_daily_payout_sats: 'cash-in payouts in a day',
      machine_npub: 'npub',
      fiat_code: 'currency',
      silent_after_minutes: 'minutes of silence',
      low_cash_fraction: 'low cash',
      tx_type: 'kind',
      wire_sats: 'over Lightning',
      principal_sats: 'principal',
      fee_sats: 'fee',
      platform_fee_sats: 'platform’s share',
      operator_fee_sats: 'operator’s share',
      fee_mismatch_sats: 'difference of the fee',
      fiat_amount: 'cash',
      exchange_rate: 'rate',
      payouts_stopped_reason: 'why payouts stopped',
      error_message: 'reason',
      dispensed_fiat: 'dispensed',
      dispensed_principal_sats: 'principal dispensed',
      dispensed_fee_sats: 'fee of that',
      dispensed_platform_fee_sats: 'platform’s share of that',
      dispensed_operator_fee_sats: 'operator’s share of that',
      dispense_state: 'dispense',
      refund_sats: 'owed to the customer',
      amount_sats: 'amount',
      amount_fiat: 'cash',
      leg_type: 'for',
      is_test: 'test',
      destination: 'destination',
      reference: 'reference',
      relays: 'relays',
      splits: 'splits',
      positions: 'bays',
      target: 'target',
      fraction: 'share'
    },
    subject: {
      settlement: 'settlement',
      payment: 'payment',
      deposit: 'deposit',
      client: 'LP',
      machine: 'machine',
      splits: 'splits',
      super_config: 'platform fees',
      lp: 'DCA settings'
    },
    audit_actor: {
      engine: 'the engine',
      machine: 'the machine',
      operator: 'the operator',
      super: 'the platform',
      lp: 'the LP'
    }
  }
})
