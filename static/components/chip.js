// A state in words, with a colour and an icon that mean the same.
;(() => {
  const LOOK = {
    good: 'check_circle',
    busy: 'schedule',
    warn: 'error',
    bad: 'cancel',
    calm: 'remove_circle_outline'
  }
  const TONE = {
    settlement_status: {
      awaiting_dispense: 'busy',
      pending: 'busy',
      processing: 'busy',
      completed: 'good',
      refund_open: 'warn',
      attention: 'bad',
      quarantined: 'warn',
      voided: 'calm'
    },
    leg_status: {
      pending: 'busy',
      completed: 'good',
      failed: 'bad',
      voided: 'calm',
      skipped: 'calm',
      refunded: 'calm'
    },
    machine_status: {
      online: 'good',
      quiet: 'warn',
      offline: 'bad',
      unpaired: 'busy',
      keyed: 'good',
      inactive: 'calm'
    },
    deposit_status: {
      pending: 'busy',
      confirmed: 'good',
      cancelled: 'calm',
      reversed: 'bad'
    },
    consent_state: {
      open: 'busy',
      accepted: 'good',
      declined: 'bad'
    },
    client_status: {active: 'good', paused: 'calm'}
  }

  satmachine.component('chip', {
    props: {group: String, code: String, label: String, look: String},
    computed: {
      tone() {
        return this.look || TONE[this.group]?.[this.code] || 'calm'
      },
      icon() {
        return LOOK[this.tone]
      },
      text() {
        return this.label || this.words(this.group, this.code)
      }
    }
  })
})()
