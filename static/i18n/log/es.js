// The words of the log: who did what to which field.
window.i18n.global.mergeLocaleMessage('es', {
  satmachine: {
    log: {
      what: 'Qué pasó',
      subject: 'A qué',
      none: 'Nada todavía',
      none_text: 'Aquí queda escrito todo lo que cambian las personas.'
    },
    audit_action: {
      landed: 'Recibida',
      shared_out: 'Repartida',
      machine: {
        create: 'Cajero registrado',
        change: 'Cajero cambiado',
        delete: 'Cajero quitado',
        give_way: 'Registro cedido',
        pairing_code: 'Nuevo código de emparejamiento',
        cassettes: 'Casetes cambiados',
        stop_payouts: 'Pagos detenidos',
        resume_payouts: 'Pagos reanudados'
      },
      client: {
        create: 'LP inscrito',
        change: 'LP cambiado',
        delete: 'LP quitado',
        close_balance: 'Saldo pagado'
      },
      deposit: {
        create: 'Depósito anotado',
        change: 'Depósito cambiado',
        confirmed: 'Depósito confirmado',
        cancelled: 'Depósito cancelado',
        reversed: 'Depósito revertido'
      },
      lp: {create: 'DCA empezado', change: 'Ajustes de DCA cambiados'},
      splits: {change: 'Reparto cambiado'},
      settlement: {
        resolve: 'Resuelta',
        dispense: 'Entrega informada',
        refund: 'Reembolso ordenado',
        retry: 'Pagada de nuevo',
        void: 'Anulada',
        notes: 'Nota agregada',
        note: 'Nota agregada',
        test: 'Marca de prueba cambiada'
      },
      payment: {
        retry: 'Pago intentado de nuevo',
        void: 'Pago anulado',
        mark_paid: 'Pago marcado como pagado'
      },
      nostr: {relays: 'Relays cambiados', rotate: 'Nueva clave de servicio'},
      config: {change: 'Comisiones de la plataforma cambiadas'}
    },
    field: {
      status: 'estado',
      amount: 'importe',
      currency: 'moneda',
      notes: 'nota',
      username: 'nombre',
      name: 'nombre',
      location: 'lugar',
      wallet_id: 'billetera',
      is_active: 'en servicio',
      operator_cash_in_fee_fraction: 'comisión de ingreso',
      operator_cash_out_fee_fraction: 'comisión de retiro',
      super_cash_in_fee_fraction: 'comisión de ingreso de la plataforma',
      super_cash_out_fee_fraction: 'comisión de retiro de la plataforma',
      super_fee_wallet_id: 'billetera de la plataforma',
      payout_interval_minutes: 'minutos entre pagos',
      min_payout_sats: 'pago mínimo',
      max_payout_sats: 'mayor pago por ingreso',
      max_daily_payout_sats: 'pagos por ingresos en un día',
      machine_npub: 'npub',
      fiat_code: 'moneda',
      silent_after_minutes: 'minutos de silencio',
      low_cash_fraction: 'poco efectivo',
      tx_type: 'tipo',
      wire_sats: 'por Lightning',
      principal_sats: 'principal',
      fee_sats: 'comisión',
      platform_fee_sats: 'parte de la plataforma',
      operator_fee_sats: 'parte del operador',
      fee_mismatch_sats: 'diferencia de la comisión',
      fiat_amount: 'efectivo',
      exchange_rate: 'tipo de cambio',
      payouts_stopped_reason: 'por qué se detuvieron los pagos',
      error_message: 'motivo',
      dispensed_fiat: 'entregado',
      dispensed_principal_sats: 'principal entregado',
      dispensed_fee_sats: 'comisión de ello',
      dispensed_platform_fee_sats: 'parte de la plataforma de ello',
      dispensed_operator_fee_sats: 'parte del operador de ello',
      dispense_state: 'entrega',
      refund_sats: 'se debe al cliente',
      amount_sats: 'importe',
      amount_fiat: 'efectivo',
      leg_type: 'concepto',
      is_test: 'prueba',
      destination: 'destino',
      reference: 'referencia',
      relays: 'relays',
      splits: 'reparto',
      positions: 'ranuras',
      target: 'destino',
      fraction: 'parte'
    },
    subject: {
      settlement: 'liquidación',
      payment: 'pago',
      deposit: 'depósito',
      client: 'LP',
      machine: 'cajero',
      splits: 'reparto',
      super_config: 'comisiones de la plataforma',
      lp: 'ajustes de DCA'
    },
    audit_actor: {
      engine: 'el motor',
      machine: 'el cajero',
      operator: 'el operador',
      super: 'la plataforma',
      lp: 'el LP'
    }
  }
})
