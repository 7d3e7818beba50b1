// In whose days the page counts, written beside a period, and the way to choose it. Asked
// once where the browser is somewhere else than what was chosen.
;(() => {
  const KEPT = 'satmachine.zone.kept'
  const here = () => Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC'

  satmachine.component('zone', {
    props: {asks: Boolean},
    data() {
      return {kept: localStorage.getItem(KEPT), busy: false}
    },
    computed: {
      here,
      // Somewhere else, and not told yet that this is meant.
      differs() {
        const {chosenZone} = this.store
        // whom the reader works for has chosen theirs
        if (this.acting) return false
        if (!chosenZone || chosenZone === this.here) return false
        return this.kept !== `${chosenZone} ${this.here}`
      },
      zones() {
        const known = Intl.supportedValuesOf?.('timeZone') || []
        return [...new Set(['UTC', this.here, ...known])].map(value => ({
          value,
          label: value
        }))
      }
    },
    methods: {
      keep() {
        this.kept = `${this.store.chosenZone} ${this.here}`
        localStorage.setItem(KEPT, this.kept)
      },
      async take() {
        this.busy = true
        try {
          await satmachine.live.chooseZone(this.here)
        } catch (error) {
          this.say(error.message, 'negative')
        } finally {
          this.busy = false
        }
      },
      choose() {
        this.$refs.action.open({
          title: this.t('zone.title'),
          lines: this.t('zone.text'),
          ok: this.t('common.save'),
          fields: [
            {
              name: 'zone',
              type: 'select',
              label: this.t('zone.label'),
              value: this.store.zone,
              options: this.zones,
              required: true
            }
          ],
          run: ({zone}) => satmachine.live.chooseZone(zone)
        })
      }
    }
  })
})()
