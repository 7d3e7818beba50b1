satmachine.component('screen-settings', {})
