// The first visit: choose to run machines or to provide liquidity.
satmachine.component('screen-welcome', {
  methods: {
    async added(machine) {
      await satmachine.live.loadMe()
      await satmachine.live.loadMachines()
      this.go(`machines/${machine.id}`, {pair: '1'})
    },
    async joined() {
      await satmachine.live.loadMe()
      this.go('dca')
    }
  }
})
